#!/bin/bash
# Runs a real API server on loopback, without nodes, until interrupted: etcd and the kube-apiserver of a
# Kubernetes release, found in PATH. Its state goes to the directory $1, a kubeconfig for KUBECONFIG_TEST too.
set -eu
directory=${1:?usage: real.sh DIRECTORY}
mkdir -p "$directory"
cd "$directory"

openssl genrsa -out sa.key 2048
token=$(openssl rand -hex 16)
echo "$token,admin,admin,system:masters" >tokens.csv

trap 'kill $(jobs -p)' EXIT
etcd --data-dir etcd --log-level error &
kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=127.0.0.1 --secure-port=6443 --cert-dir=pki \
    --authorization-mode=RBAC --token-auth-file=tokens.csv --service-cluster-ip-range=10.0.0.0/24 \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file=sa.key \
    --service-account-signing-key-file=sa.key --disable-admission-plugins=ServiceAccount &

cat >kubeconfig <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:6443", certificate-authority: "$PWD/pki/apiserver.crt"}}]
users: [{name: test, user: {token: "$token"}}]
contexts: [{name: test, context: {cluster: test, user: test}}]
current-context: test
END
echo "KUBECONFIG_TEST=$PWD/kubeconfig" >&2
wait
