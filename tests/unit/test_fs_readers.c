/*
 * What the worker notes of opens (opens.h), and the record that the supervisor makes of it.
 */
#include "helpers.h"
#include "readers.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 0x40000000u /* no thread has a number from here on */

/* The record as it is told; caller frees. */
static struct control_readers *told(struct readers *r, struct opens *o)
{
    readers_take(r, o);
    int fd = readers_file(r, o, 77);
    assert_true(fd >= 0);
    off_t size = lseek(fd, 0, SEEK_END);
    struct control_readers *head = malloc((size_t)size);
    assert_int_equal(pread(fd, head, (size_t)size, 0), size);
    assert_int_equal(size, sizeof *head + head->count * sizeof(struct control_reader));
    assert_int_equal(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
    assert_int_equal(head->device, 77);
    close(fd);
    return head;
}

static const struct control_reader *entry(const struct control_readers *head, uint64_t version,
                                          uint32_t pid)
{
    const struct control_reader *all = (const struct control_reader *)(head + 1);
    for (uint32_t i = 0; i < head->count; i++)
        if (all[i].version == version && all[i].who.pid == pid)
            return &all[i];
    return NULL;
}

static uint64_t total(const struct control_readers *head)
{
    const struct control_reader *all = (const struct control_reader *)(head + 1);
    uint64_t opens = 0;
    for (uint32_t i = 0; i < head->count; i++)
        opens += all[i].count;
    return opens;
}

/* A process that only waits. */
static pid_t start_process(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pause();
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static void end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

struct pair {
    struct opens *opens;
    struct readers *readers;
};

static int setup(void **state)
{
    struct pair *pair = calloc(1, sizeof *pair);
    pair->opens = calloc(1, sizeof *pair->opens);
    pair->readers = readers_new();
    *state = pair;
    return pair->readers == NULL;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    readers_free(pair->readers);
    free(pair->opens);
    free(pair);
    return 0;
}

static void test_one_reader(void **state)
{
    const struct pair *p = *state;
    uint32_t pid = (uint32_t)getpid();

    for (int i = 0; i < 3; i++)
        opens_note(p->opens, -1, pid, 1000, 42);
    opens_note(p->opens, -1, pid, 1001, 42);
    opens_note(p->opens, -1, pid, 1000, 43);
    struct control_readers *head = told(p->readers, p->opens);
    assert_int_equal(head->count, 3);
    assert_int_equal(total(head), 5);
    const struct control_reader *one = entry(head, 43, pid);
    assert_non_null(one);
    assert_true(one->known && one->first_ns == one->last_ns && one->count == 1);
    assert_string_equal(one->who.command, "test_fs_readers");
    assert_non_null(strstr(one->who.executable, "test_fs_readers"));
    assert_true(identity_lives(one->who.pid, one->who.start));
    free(head);
    opens_note(p->opens, -1, pid, 1000, 43); /* counted once, however often it is taken */
    head = told(p->readers, p->opens);
    one = entry(head, 43, pid);
    assert_true(one && one->count == 2 && one->first_ns < one->last_ns);
    assert_int_equal(total(head), 6);
    free(head);
}

/* Nothing is told of a version while nobody is new, and once for all that come together. */
static void test_the_supervisor_is_woken_once(void **state)
{
    const struct pair *p = *state;
    int sockets[2];
    char word;

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), 0);
    opens_note(p->opens, sockets[0], NOBODY, 0, 42);
    opens_note(p->opens, sockets[0], NOBODY + 1, 0, 42);
    assert_int_equal(recv(sockets[1], &word, 1, MSG_DONTWAIT), 1);
    assert_int_equal(word, 'O');
    assert_int_equal(recv(sockets[1], &word, 1, MSG_DONTWAIT), -1);
    assert_false(readers_tend(p->readers, p->opens));
    opens_note(p->opens, sockets[0], NOBODY + 1, 0, 42);
    assert_int_equal(recv(sockets[1], &word, 1, MSG_DONTWAIT), -1);
    assert_true(readers_tend(p->readers, p->opens)); /* it is too soon for what is not new */
    opens_note(p->opens, sockets[0], NOBODY + 2, 0, 42);
    assert_int_equal(recv(sockets[1], &word, 1, MSG_DONTWAIT), 1);
    close(sockets[0]);
    close(sockets[1]);
}

static void test_who_has_ended_is_a_number(void **state)
{
    const struct pair *p = *state;
    pid_t pid = start_process();

    opens_note(p->opens, -1, (uint32_t)pid, 5, 42);
    opens_note(p->opens, -1, NOBODY, 5, 42);
    opens_note(p->opens, -1, 0, 5, 42); /* in a pid namespace that can't be seen from ours */
    free(told(p->readers, p->opens));
    end_process(pid);
    opens_note(p->opens, -1, (uint32_t)pid, 5, 42); /* noted in time, taken too late */
    struct control_readers *head = told(p->readers, p->opens);
    assert_int_equal(head->count, 3);
    const struct control_reader *one = entry(head, 42, (uint32_t)pid);
    assert_true(one && one->known && one->count == 2);
    assert_false(identity_lives(one->who.pid, one->who.start));
    assert_true(entry(head, 42, NOBODY) && !entry(head, 42, NOBODY)->known);
    assert_true(entry(head, 42, 0) && !entry(head, 42, 0)->known);
    free(head);
}

/* A process that began after an open did not do it. */
static void test_a_number_given_again(void **state)
{
    const struct pair *p = *state;
    pid_t pid = start_process();

    opens_note(p->opens, -1, (uint32_t)pid, 5, 42);
    for (unsigned i = 0; i < OPENS_SLOTS; i++)
        if (p->opens->slots[i].version)
            p->opens->slots[i].first_ns = p->opens->slots[i].last_ns -= 1000000000;
    struct control_readers *head = told(p->readers, p->opens);
    assert_true(entry(head, 42, (uint32_t)pid) && !entry(head, 42, (uint32_t)pid)->known);
    free(head);
    end_process(pid);
}

/* What a killed worker leaves half filled is nobody, and can be filled again. */
static void test_a_slot_left_half_filled(void **state)
{
    const struct pair *p = *state;
    struct open_note note;
    unsigned filled = 0;

    opens_note(p->opens, -1, NOBODY, 0, 42);
    while (!opens_look(p->opens, filled, &note))
        filled++;
    p->opens->slots[filled].stamp++;
    assert_false(opens_look(p->opens, filled, &note));
    struct control_readers *head = told(p->readers, p->opens);
    assert_int_equal(head->count, 0);
    free(head);
    opens_note(p->opens, -1, NOBODY, 0, 42);
    head = told(p->readers, p->opens);
    assert_true(entry(head, 42, NOBODY) && entry(head, 42, NOBODY)->count == 1);
    assert_int_equal(head->missed, 0);
    free(head);
}

/* More than there are slots before the supervisor looks: what is lost is counted. */
static void test_more_than_the_slots(void **state)
{
    const struct pair *p = *state;

    for (uint32_t i = 0; i < 3 * OPENS_SLOTS; i++)
        opens_note(p->opens, -1, NOBODY + i, 0, 42);
    struct control_readers *head = told(p->readers, p->opens);
    assert_true(head->count > OPENS_SLOTS * 9 / 10 && head->count <= OPENS_SLOTS);
    assert_int_equal(total(head) + head->missed, 3 * OPENS_SLOTS);
    free(head);
    for (uint32_t i = 0; i < OPENS_WAYS / 2; i++) /* what was taken is no loss */
        opens_note(p->opens, -1, NOBODY + 3 * OPENS_SLOTS + i, 0, 42);
    uint64_t lost = p->opens->lost;
    free(told(p->readers, p->opens));
    assert_int_equal(p->opens->lost, lost);
}

/* Who lives stays on record, though it has read first and not again. */
static void test_more_than_the_record(void **state)
{
    const struct pair *p = *state;
    uint32_t opens = 3 * CONTROL_READERS_MAX;
    pid_t lives = start_process();
    pid_t ends = start_process();

    opens_note(p->opens, -1, (uint32_t)lives, 5, 42);
    opens_note(p->opens, -1, (uint32_t)ends, 5, 42);
    free(told(p->readers, p->opens));
    end_process(ends);
    for (uint32_t i = 0; i < opens; i++) {
        opens_note(p->opens, -1, NOBODY + i, 0, 42);
        if (i % 500 == 0)
            readers_take(p->readers, p->opens);
    }
    struct control_readers *head = told(p->readers, p->opens);
    assert_int_equal(head->count, CONTROL_READERS_MAX);
    assert_int_equal(head->missed, 0);
    assert_int_equal(head->forgotten, opens + 2 - CONTROL_READERS_MAX);
    assert_non_null(entry(head, 42, (uint32_t)lives));
    assert_non_null(entry(head, 42, NOBODY + opens - 1));
    assert_null(entry(head, 42, NOBODY));
    free(head);
    end_process(lives);
}

/* Where all that are on record live, the one that has read longest ago goes, and that is told. */
static void test_a_record_full_of_the_living(void **state)
{
    const struct pair *p = *state;
    pid_t lives = start_process();

    for (uint64_t version = 100; version < 100 + CONTROL_READERS_MAX + 3; version++) {
        opens_note(p->opens, -1, (uint32_t)lives, 5, version);
        if (version % 256 == 0)
            readers_take(p->readers, p->opens);
    }
    struct control_readers *head = told(p->readers, p->opens);
    assert_int_equal(head->count, CONTROL_READERS_MAX);
    assert_int_equal(head->forgotten, 0);
    assert_int_equal(head->missed, 3);
    assert_null(entry(head, 102, (uint32_t)lives));
    assert_non_null(entry(head, 103, (uint32_t)lives));
    free(head);
    end_process(lives);
}

#define both(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        both(test_one_reader),
        both(test_the_supervisor_is_woken_once),
        both(test_who_has_ended_is_a_number),
        both(test_a_number_given_again),
        both(test_a_slot_left_half_filled),
        both(test_more_than_the_slots),
        both(test_more_than_the_record),
        both(test_a_record_full_of_the_living),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
