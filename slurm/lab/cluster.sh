#!/usr/bin/env bash
# A real Slurm cluster of three virtual nodes on this machine, for tests. See README.md beside this.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
lab="${HPC_MLSM_LAB:-${TMPDIR:-/tmp}/hpc_mlsm-lab-$(id -u)}"
port="${HPC_MLSM_LAB_PORT:-16817}"
nodes=(n1 n2 n3)
packages=(slurm-wlm slurmctld slurmd slurm-client munge openmpi-bin libopenmpi-dev)
patience_s=60
export PATH="$PATH:/usr/sbin:/sbin" SLURM_CONF="$lab/slurm.conf"

usage() {
    cat <<USAGE
usage: $0 install|start|stop|status|env
  install  put the packages of Slurm, MUNGE and Open MPI on this machine, where they are missing (Debian, as root)
  start    start what does not run yet, and wait until all nodes are ready
  stop     cancel all jobs and end the cluster
  status   show nodes and jobs; exit status 3 where the cluster does not run
  env      print the line that points Slurm's commands to this cluster: eval "\$($0 env)"
The cluster keeps its files in HPC_MLSM_LAB ($lab) and takes four ports from HPC_MLSM_LAB_PORT ($port) on.
USAGE
}

fail() {
    echo "cluster.sh: $*" >&2
    exit 1
}

# running FILE PROGRAM: whether the process named in a pid file lives and is that program. One that was killed may
# stay as a zombie where nothing reaps it.
running() {
    local pid
    pid="$(cat "$1" 2>/dev/null)" && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ] &&
        ! grep -q '^State:.*zombie' "/proc/$pid/status" 2>/dev/null
}

# end FILE PROGRAM: end the process named in a pid file, and wait for it.
end() {
    local pid tick
    if running "$1" "$2"; then
        pid="$(cat "$1")"
        kill "$pid" 2>/dev/null || true
        for ((tick = 0; tick < 100; tick++)); do
            running "$1" "$2" || break
            sleep 0.1
        done
        if running "$1" "$2"; then kill -KILL "$pid" 2>/dev/null || true; fi
    fi
    rm -f "$1"
}

up() {
    local node
    running "$lab/munge/munged.pid" munged && running "$lab/slurmctld.pid" slurmctld || return 1
    for node in "${nodes[@]}"; do running "$lab/slurmd.$node.pid" slurmd || return 1; done
}

install_packages() {
    local package missing=()
    for package in "${packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    if [ ${#missing[@]} -eq 0 ]; then
        echo "all packages are there"
        return
    fi
    command -v apt-get >/dev/null || fail "needs ${missing[*]}, and there is no apt-get: install them by hand"
    [ "$(id -u)" = 0 ] || fail "needs ${missing[*]}: run this as root"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -o DPkg::Lock::Timeout=300 update -qq
    apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "${missing[@]}"
}

make_folders() {
    local node
    mkdir -p "$lab" && chmod 755 "$lab"
    [ -O "$lab" ] || fail "$lab belongs to another user: set HPC_MLSM_LAB to a folder of your own"
    mkdir -p "$lab/state" "$lab/munge"
    for node in "${nodes[@]}"; do mkdir -p "$lab/spool.$node"; done
}

render_conf() {
    sed -e "s|@LAB@|$lab|g" -e "s|@USER@|$(id -un)|g" -e "s|@PORT@|$port|g" \
        -e "s|@PORT1@|$((port + 1))|g" -e "s|@PORT2@|$((port + 2))|g" -e "s|@PORT3@|$((port + 3))|g" \
        "$here/slurm.conf.in" >"$SLURM_CONF"
}

start_munge() {
    local munge="$lab/munge"
    running "$munge/munged.pid" munged && return
    rm -f "$munge"/socket* "$munge/munged.pid"
    [ -s "$munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$munge/key")
    munged --socket="$munge/socket" --key-file="$munge/key" --pid-file="$munge/munged.pid" \
        --log-file="$munge/munged.log" --seed-file="$munge/seed" 9>&- ||
        fail "munged does not start: see $munge/munged.log"
}

start_slurm() {
    local node
    if ! running "$lab/slurmctld.pid" slurmctld; then
        render_conf
        slurmctld -f "$SLURM_CONF" 9>&- || fail "slurmctld does not start: see $lab/slurmctld.log"
    fi
    for node in "${nodes[@]}"; do
        running "$lab/slurmd.$node.pid" slurmd && continue
        slurmd -N "$node" -f "$SLURM_CONF" 9>&- || fail "slurmd of $node does not start: see $lab/slurmd.$node.log"
    done
}

# Nodes that were set down or lost come back; those with jobs on them are ready as well.
wait_for_nodes() {
    local tick ready node state
    for ((tick = 0; tick < patience_s * 2; tick++)); do
        ready=0
        while read -r node state; do
            case "$state" in
            idle | mixed | allocated | completing) ready=$((ready + 1)) ;;
            down* | drain*) scontrol update nodename="$node" state=resume 2>/dev/null || true ;;
            esac
        done < <(sinfo -h -N -p batch -o '%N %T' 2>/dev/null || true)
        if [ "$ready" = ${#nodes[@]} ] && up; then return; fi
        sleep 0.5
    done
    fail "the nodes are not ready after $patience_s s: see the logs in $lab"
}

start() {
    local program
    for program in munged slurmctld slurmd sinfo; do
        command -v "$program" >/dev/null || fail "$program is not installed: run '$0 install' first"
    done
    make_folders
    exec 9>"$lab/lock"
    flock -w 120 9 || fail "another start or stop has held $lab/lock for two minutes"
    start_munge
    start_slurm
    wait_for_nodes
    sinfo -N -p batch -o '%N %T %c %m'
}

cancel_jobs() {
    local tick
    timeout 10 scancel --user="$(id -un)" 2>/dev/null || return 0
    for ((tick = 0; tick < 60; tick++)); do
        [ -n "$(timeout 10 squeue -h -o %i 2>/dev/null)" ] || return 0
        sleep 0.5
    done
    echo "cluster.sh: some jobs do not end" >&2
}

stop() {
    local node
    [ -d "$lab" ] || return 0
    exec 9>"$lab/lock"
    flock -w 120 9 || fail "another start or stop has held $lab/lock for two minutes"
    if running "$lab/slurmctld.pid" slurmctld; then cancel_jobs; fi
    for node in "${nodes[@]}"; do end "$lab/slurmd.$node.pid" slurmd; done
    end "$lab/slurmctld.pid" slurmctld
    end "$lab/munge/munged.pid" munged
    # Jobs that ended with the cluster must not come back with the next one.
    rm -rf "$lab/state" "$lab"/spool.* "$lab"/munge/socket*
}

status() {
    if ! up; then
        echo "the cluster in $lab does not run, or not all of it"
        exit 3
    fi
    timeout 20 sinfo -N -p batch -o '%N %T %c %m' && timeout 20 squeue
}

case "${1:-}" in
install) install_packages ;;
start) start ;;
stop) stop ;;
status) status ;;
env) echo "export SLURM_CONF='$SLURM_CONF'" ;;
*)
    usage >&2
    exit 2
    ;;
esac
