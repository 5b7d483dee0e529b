// The paths that the plug-in and the gate must know before any configuration can be read. Tests build with -D; nothing may change them at run time.
#ifndef VMRM_PATHS_H
#define VMRM_PATHS_H

#ifndef VMRM_LIB_DIR
#define VMRM_LIB_DIR "/usr/lib/vmrm"
#endif
#ifndef VMRM_RUN_DIR
#define VMRM_RUN_DIR "/run/vmrm"
#endif
#ifndef VMRM_OFF_SWITCH
#define VMRM_OFF_SWITCH "/etc/vmrm/off"
#endif
#ifndef VMRM_DEFAULTS_FLAG
#define VMRM_DEFAULTS_FLAG "/etc/vmrm/default-images"
#endif

#define VMRM_CLI VMRM_LIB_DIR "/vmrm"
#define VMRM_TASK_RUNNER VMRM_LIB_DIR "/vmrm-run"
#define VMRM_MARKERS VMRM_RUN_DIR "/jobs"

#endif
