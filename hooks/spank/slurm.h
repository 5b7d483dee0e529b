// Slurm's own header with what it needs before it; its declarations are the plug-in's only visible symbols.
#ifndef VMRM_SLURM_H
#define VMRM_SLURM_H

#include <stdint.h>
#include <sys/types.h>

#pragma GCC visibility push(default)
#include <slurm/spank.h>
#pragma GCC visibility pop

#endif
