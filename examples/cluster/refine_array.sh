#!/bin/bash
# SLURM: refine a large cohort in an array of jobs, one GPU each, and merge.
#
#   N=20; REFINE=$(sbatch --parsable --array=0-$((N - 1)) refine_array.sh images masks model refined)
#   sbatch --dependency=afterok:$REFINE --export=ALL,MERGE=1,NUM_PARTS=$N refine_array.sh images masks model refined
#
# A job that is killed or runs out of time is started again by --requeue and goes on after its last complete case.
#SBATCH --job-name=nnunet_weak_refine
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=32G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail

images=$1 masks=$2 model=$3 output=$4
shift 4
parts=${NUM_PARTS:-${SLURM_ARRAY_TASK_COUNT:?start it with sbatch --array}}
command=(nnunet_weak_refine -i "$images" --masks "$masks" -m "$model" -o "$output" --continue_prediction -num_parts "$parts")

if [ "${MERGE:-0}" = 1 ]; then
    "${command[@]}" --merge "$@"
else
    "${command[@]}" -part_id "$SLURM_ARRAY_TASK_ID" "$@"
fi
