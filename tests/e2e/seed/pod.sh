# What a container sees: its volumes where its image says, a root file system that cannot be written to.
# pod.sh DIRECTORY PROGRAM_PATH... -- SOURCE TARGET... -- COMMAND...
set -eu
directory=$1
shift
kept=()
while [[ $1 != -- ]]; do kept+=("$1"); shift; done
shift

# What /etc and /run do not have yet is added above them, for this pod alone.
cp /etc/hosts "$directory/hosts"
mkdir "$directory/above"
mount -t tmpfs above "$directory/above"
for top in etc run; do
    mkdir "$directory/above/$top" "$directory/above/$top.work"
    mount -t overlay overlay -o "lowerdir=/$top,upperdir=$directory/above/$top,workdir=$directory/above/$top.work" "/$top"
done
cp "$directory/hosts" /etc/hosts # a file of its own on this machine

while [[ $1 != -- ]]; do
    source=$1 target=$2
    shift 2
    if [[ $source == memory ]]; then # an emptyDir; where it would hide the program, that shines through
        mkdir "$directory/empty"
        mount -t tmpfs empty "$directory/empty"
        for path in "${kept[@]}"; do
            if [[ $path == "$target"/* ]]; then
                mkdir -p "$directory/empty${path#"$target"}"
                mount --bind "$path" "$directory/empty${path#"$target"}"
            fi
        done
        mount --move "$directory/empty" "$target"
    else
        mkdir -p "$target"
        mount --bind -o ro "$source" "$target"
    fi
done
shift

mount -o remount,ro /etc
mount -o remount,ro /run
mount -o remount,bind,ro /
exec "$@"
