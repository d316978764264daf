/*
 * Which of the threads wait for a request: as few as keep up with what comes.
 *
 * The kernel gives each request to the thread that has waited longest. With several that wait, a
 * reader's requests go round among them, and each time one has to be woken, which takes longer than
 * most requests do. So one thread waits, and takes what comes while it is at work when it is done.
 * Another takes its place when it says that it is about to wait for something else, or does so
 * without a word for POOL_PATIENCE_NS; and more of them wait while requests are always there
 * already.
 */
#ifndef FS_POOL_H
#define FS_POOL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define POOL_THREADS_MAX 16
#define POOL_PATIENCE_NS 5000000

struct pool;

struct pool_thread {
    struct pool *pool;
    _Atomic bool takes;        /* it is its turn to take requests */
    _Atomic int64_t since_ns;  /* when it took the one that it is at; 0: it is at none */
    _Atomic uint64_t requests; /* so far */
    int balance;               /* of requests that were there already, and that were waited for */
};

struct pool {
    unsigned count; /* threads */
    struct pool_thread threads[POOL_THREADS_MAX];
    sem_t turns; /* that nobody has */
    _Atomic unsigned turn_count;
    pthread_t watch; /* over threads that wait without a word */
    sem_t wake;
    _Atomic bool resting; /* nothing happens: the watch has to be woken */
    _Atomic bool stopped;
};

/* For `count` threads, from 1 to POOL_THREADS_MAX. Returns 0 or an errno. */
int pool_start(struct pool *pool, unsigned count);

/* When all threads have ended. Nothing where it was not started, and is zero. */
void pool_stop(struct pool *pool);

/* Wait until it is the thread's turn. False when a signal came first. */
bool pool_enter(struct pool_thread *thread);

/* The thread has begun to wait for a request at `from_ns` of CLOCK_MONOTONIC, and has it now. */
void pool_took(struct pool_thread *thread, int64_t from_ns, int64_t now_ns);

/* It has answered. */
void pool_answered(struct pool_thread *thread);

/* The calling thread is about to wait: let another one take requests. Nothing, if it is of no pool.
 */
void pool_yield(void);

#endif
