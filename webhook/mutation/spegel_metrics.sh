#!/bin/bash
# Hands the figures of the node's Spegel daemon to node-exporter: every 5 s /metrics is fetched and
# replaces spegel.prom in the directory of node-exporter's textfile collector. The file is either
# whole and fresh or not there: figures must not outlive the daemon they describe.
#
# Runs as spegel-metrics.service on every node, where only bash (4.4 or newer), curl and coreutils
# are certain. The webhook writes the port in; the environment variables are for trying it by hand.
set -u
export LC_ALL=C
shopt -s extglob
umask 022 # node-exporter reads as another user: files 0644, directory 0755

readonly PORT=@METRICS_PORT@
readonly URL=${SPEGEL_METRICS_URL:-http://localhost:$PORT/metrics}
readonly DIR=${SPEGEL_METRICS_DIR:-/var/lib/node-exporter/textfile-collector}
readonly INTERVAL=${SPEGEL_METRICS_INTERVAL:-5}
readonly FETCH_SECONDS=4 # below the interval, so that a slow answer does not shift the next one
readonly MAX_KIB=4096    # some hundred times what Spegel writes

readonly PUBLISHED=$DIR/spegel.prom
# In the same directory, because only a rename inside a file system is atomic; without the ending
# that node-exporter looks for; always the same name, so that crashed runs leave no collection.
readonly TEMPORARY=$DIR/.spegel.prom.tmp

# Families that node-exporter has of its own: a textfile that repeats one makes every scrape an error.
readonly OWN_FAMILIES='?(#*([[:blank:]])@(HELP|TYPE)+([[:blank:]]))@(go|node|process|promhttp|python)_*'
# One sample: name, labels, value. No timestamp: the textfile collector refuses them.
readonly NAME='[a-zA-Z_:][a-zA-Z0-9_:]*'
readonly LABELS='[{]([a-zA-Z_][a-zA-Z0-9_]*="([^"\]|[\]["\n])*",?[[:blank:]]*)*[}]'
readonly VALUE='[-+]?(([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]+)?|Inf|NaN)'
readonly SAMPLE="^$NAME($LABELS)?[[:blank:]]+${VALUE}[[:blank:]]*\$"

# Replaces the background process it is called in by curl, which puts the body into TEMPORARY.
fetch() {
    # --max-filesize only knows announced lengths; the limit on files holds for chunked bodies too.
    # Its signal is ignored so that curl sees a failed write and says so in its exit status.
    trap '' XFSZ
    ulimit -f "$MAX_KIB"
    exec curl --disable --silent --fail --noproxy '*' --max-time "$FETCH_SECONDS" \
        --max-filesize $((MAX_KIB * 1024)) --output "$TEMPORARY" "$URL" 2>/dev/null
}

# Says in words what curl's exit status $1 means.
explain() {
    case $1 in
    7) echo "nothing listens at $URL" ;;
    18) echo "the answer of $URL ended before its announced length" ;;
    22) echo "$URL answered with an HTTP error" ;;
    23) echo "cannot write $TEMPORARY (is the disk full?), or the answer of $URL has more than $MAX_KIB KiB" ;;
    28) echo "$URL did not answer in full within $FETCH_SECONDS s" ;;
    63) echo "the answer of $URL has more than $MAX_KIB KiB" ;;
    *) echo "cannot fetch $URL: curl exit status $1" ;;
    esac
}

# Fills the array figures from TEMPORARY, without the families node-exporter has of its own. Fails
# on anything that is not metrics to its last byte, as an error page or a body that was cut off.
read_figures() {
    local line lines=()
    figures=()
    mapfile lines 2>/dev/null <"$TEMPORARY"
    [[ ${#lines[@]} -gt 0 && ${lines[-1]} == *$'\n' ]] || return
    for line in "${lines[@]}"; do
        # shellcheck disable=SC2053 # the right side is a pattern
        [[ $line == $OWN_FAMILIES ]] && continue
        [[ $line == '#'* || $line == $'\n' || ${line%$'\n'} =~ $SAMPLE ]] || return
        figures+=("$line")
    done
}

# One round. Leaves the reason in the variable reason when there are no figures to publish.
publish() {
    local status
    reason=''
    # The directory is node-exporter's and is missing while no node-exporter has run on the node.
    if ! mkdir -p "$DIR" 2>/dev/null; then
        reason="cannot create the directory $DIR"
        return
    fi
    # In the background because bash does not look at signals while a command in the foreground runs.
    fetch &
    wait "$!"
    status=$?
    if ((status != 0)); then
        reason=$(explain "$status")
    elif ! read_figures; then
        reason="the answer of $URL is not metrics, or was cut off"
    elif ! { printf %s "${figures[@]}" >"$TEMPORARY" && mv -fT "$TEMPORARY" "$PUBLISHED"; } 2>/dev/null; then
        reason="cannot write $PUBLISHED (is the disk full?)"
    fi
}

withdraw() {
    rm -f "$PUBLISHED" "$TEMPORARY" 2>/dev/null
}

# One line when something changes; nobody wants the same one every 5 s for as long as a disk is full.
report() {
    if [[ $reason != "$reported" ]]; then
        echo "spegel_metrics: ${reason:-figures are published again}" >&2
        reported=$reason
    fi
}

finish() {
    local child
    trap '' TERM INT HUP # a second signal must not cut this short
    for child in $(jobs -pr); do
        kill "$child" 2>/dev/null
    done
    wait
    withdraw
}

trap finish EXIT
trap 'exit 0' TERM INT HUP

withdraw # what a killed run or the time before a reboot left
reported=''
while :; do
    # Starts before the work and ends after it: the rounds do not drift by the time the work takes.
    sleep "$INTERVAL" &
    tick=$!
    publish
    [[ $reason ]] && withdraw
    report
    wait "$tick" || exit 1 # without its pause the loop would spin
done
