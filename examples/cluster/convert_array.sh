#!/bin/bash
# SLURM: convert a large cohort in an array of jobs, and merge.
#
#   N=20; PARTS=$(sbatch --parsable --array=0-$((N - 1)) convert_array.sh nnunet_weak_convert_scores --images ...)
#   sbatch --dependency=afterok:$PARTS --export=ALL,MERGE=1,NUM_PARTS=$N convert_array.sh nnunet_weak_convert_scores --images ...
#
# Give both the same words. Any converter will do; all jobs see the same nnUNet_raw.
#SBATCH --job-name=nnunet_weak_convert
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=12:00:00
#SBATCH --requeue
set -euo pipefail

parts=${NUM_PARTS:-${SLURM_ARRAY_TASK_COUNT:?start it with sbatch --array}}
if [ "${MERGE:-0}" = 1 ]; then
    "$@" -num_parts "$parts" --merge
else
    "$@" -num_parts "$parts" -part_id "$SLURM_ARRAY_TASK_ID" -np "${SLURM_CPUS_PER_TASK:-1}"
fi
