/*
 * Errors of the store: a code to act on, and a record of what failed for whoever tells people.
 *
 * A failing function returns a code and notes, for its thread, what it was doing to what. The
 * library makes no sentences and prints nothing; the programs do both at their edge. Nothing noted
 * here is ever a value or a name from inside the store: rows are called by table and id.
 */
#ifndef STORE_ERROR_H
#define STORE_ERROR_H

/* 0 or negative. Every switch over it is without `default`, so that a new code can't be forgotten.
 */
enum store_err {
    STORE_OK = 0,
    STORE_ERR_NOT_FOUND = -1,     /* no such path */
    STORE_ERR_NO_VERSION = -2,    /* the secret has no such version (any more) */
    STORE_ERR_EXISTS = -3,        /* the path, or the store file, exists already */
    STORE_ERR_NOT_DIRECTORY = -4, /* a directory was needed */
    STORE_ERR_IS_DIRECTORY = -5,  /* a secret was needed */
    STORE_ERR_NOT_EMPTY = -6,     /* a directory that still has entries */
    STORE_ERR_NAME = -7,          /* not a valid name or path */
    STORE_ERR_LIMIT = -8,      /* a value, path, list or number beyond the limits of the format */
    STORE_ERR_INVALID = -9,    /* an argument that makes no sense */
    STORE_ERR_NO_STORE = -10,  /* the store file does not exist */
    STORE_ERR_FORMAT = -11,    /* not a store, or of a format this library doesn't know */
    STORE_ERR_KEY = -12,       /* no key slot opens with what was offered */
    STORE_ERR_INTEGRITY = -13, /* the file was changed by someone without the key, or is damaged */
    STORE_ERR_BUSY = -14,      /* another process has locked the store */
    STORE_ERR_DENIED = -15,    /* the operating system refused access to a file */
    STORE_ERR_NO_SPACE = -16,  /* the disk is full */
    STORE_ERR_IO = -17,        /* reading or writing failed */
    STORE_ERR_NO_MEMORY = -18, /* out of memory */
    STORE_ERR_MEMORY_LOCK = -19, /* memory could not be locked against swapping */
    STORE_ERR_REVOKED = -20,     /* the version was revoked, so it is not given out */
    STORE_ERR_EXPIRED = -21,     /* the secret's time is over, so it is not given out */
    STORE_ERR_ANCHOR = -22,      /* the state contradicts the anchor: older, or of another copy */
};

#define STORE_CHECKED __attribute__((warn_unused_result))

/* What failed. Strings are never NULL; they point to constants or into the record itself. */
struct store_fault {
    enum store_err code;
    const char *operation; /* what was being done: "read", "open the store" … */
    char object[96];    /* to what: "node 17", "the key file" … (empty: nothing in particular) */
    const char *reason; /* why, where the code alone does not tell (empty otherwise) */
    int sys_errno;      /* 0 when no system call failed */
    int sqlite_code;    /* SQLite's extended code, 0 when SQLite did not fail */
};

/*
 * The calling thread's last fault. Valid until its next failing call into the library; means
 * nothing after a call that succeeded. Thread-safe: every thread has its own.
 */
const struct store_fault *store_fault(void);

/*
 * A short English phrase for `code`, such as "no such path"; a constant. The same words everywhere.
 */
const char *store_strerror(enum store_err code);

#endif
