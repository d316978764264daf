/*
 * Who goes first when memory is short (proc(5), oom_score_adj): others before us, as nobody could
 * read a secret then; and of us the worker, whose end no reader notices.
 */
#ifndef FS_OOM_H
#define FS_OOM_H

#define OOM_LOWEST (-1000)
#define OOM_SUPERVISOR (-900)
#define OOM_WORKER (-500)
#define OOM_HIGHEST 1000

/*
 * Bring this process's score into the range, which what it starts inherits. Raising it is always
 * allowed; where lowering is not (CAP_SYS_RESOURCE), it stays.
 */
void oom_keep_within(int lowest, int highest);

#endif
