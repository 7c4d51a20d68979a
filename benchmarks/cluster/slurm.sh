#!/usr/bin/env bash
# Figures 3 and 8 in miniature in two jobs of a Slurm set up for it, one of which is cancelled while
# it trains; then in processes here, and the two tables compared. Needs root, prunelib on the path
# and Debian's slurmctld, slurmd, slurm-client and munge; all of it listens on loopback only.
set -euo pipefail
place=$(mktemp -d) && chmod 755 "$place"
host=$(hostname -s) here=127.0.0.1 table=lenet_digits/quick.csv
export SLURM_CONF=$place/slurm.conf DASK_CONFIG=$place/dask.yaml OMP_NUM_THREADS=1
cat > "$SLURM_CONF" <<END
ClusterName=loopback
SlurmctldHost=$host($here)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
AuthInfo=socket=$place/munge
StateSaveLocation=$place/state
SlurmdSpoolDir=$place/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
NodeName=$host NodeAddr=$here CPUs=2 RealMemory=5000
PartitionName=all Nodes=ALL Default=YES
END
cat > "$DASK_CONFIG" <<END
distributed: {deploy: {lost-worker-timeout: 1s}}
jobqueue: {slurm: {cores: 1, memory: 2GiB, interface: lo, log-directory: $place/jobs,
  scheduler-options: {dashboard_address: "$here:0"}, worker-extra-args: [--dashboard-address, "$here:0"]}}
END
trap 'scancel --name dask-worker; sleep 2; kill $(jobs -p); wait; rm -r "$place"' EXIT
head -c 1024 /dev/urandom > "$place/key" && chmod 600 "$place/key"
munged -fF -S "$place/munge" --key-file "$place/key" --pid-file "$place/pid" &> "$place/munge.log" &
slurmctld -D &> "$place/slurmctld.log" & slurmd -D &> "$place/slurmd.log" &
train() { PRUNELIB_RESULTS=$place/$1 prunelib run -p quick -f 3 -f 8 --workers 2 "${@:2}" |& tail -1; }
train slurm --cluster slurm & campaign=$!
until [ -s "$place/slurm/$table" ]; do sleep 0.1; done # from here on both jobs train
squeue && scancel "$(squeue -ho %i | head -1)" && sleep 5 && squeue
wait $campaign && train here
results() { tail -n +2 "$place/$1/$table" | cut -d, -f1-14 | sort; } # before the seconds it took
diff <(results slurm) <(results here) && echo "$(results here | wc -l) rows, all the same."
