/*
 * Secret memory: locked, kept out of cores, guarded, wiped, counted. mlock() is replaced so that it
 * can be made to fail; it otherwise is the system call itself, since the sanitizers turn the
 * library function into nothing.
 */
#include "helpers.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int __wrap_mlock(const void *address, size_t len);
void __real_sodium_free(void *memory);
void __wrap_sodium_free(void *memory);

static bool lock_fails;
static void *freed;

int __wrap_mlock(const void *address, size_t len)
{
    if (!lock_fails)
        return (int)syscall(SYS_mlock, address, len);
    errno = ENOMEM;
    return -1;
}

void __wrap_sodium_free(void *memory)
{
    freed = memory;
    __real_sodium_free(memory);
}

/* The kernel's flags of the mapping that has `address`; empty where there is none. */
static void mapping_flags(const void *address, char flags[256])
{
    char line[512];
    bool inside = false;
    FILE *file = fopen("/proc/self/smaps", "re");

    assert_non_null(file);
    flags[0] = '\0';
    while (fgets(line, sizeof line, file)) {
        unsigned long from;
        unsigned long to;
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            inside = (unsigned long)address >= from && (unsigned long)address < to;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, 256, "%.255s", line + 8);
    }
    fclose(file);
}

static bool is_zero(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

static void test_locked_and_left_out_of_cores(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    char flags[256];

    assert_ok(secbuf_alloc(&buf, 3 * 4096 + 17));
    mapping_flags(buf.data, flags);
    assert_non_null(strstr(flags, " lo"));
    assert_non_null(strstr(flags, " dd"));
    mapping_flags(buf.data + buf.capacity - 1, flags);
    assert_non_null(strstr(flags, " lo"));
}

static void test_starts_as_zeros(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    for (int i = 0; i < 3; i++) {
        assert_ok(secbuf_alloc(&buf, 5000));
        assert_int_equal(buf.capacity, 5000);
        assert_int_equal(buf.len, 0);
        assert_true(is_zero(buf.data, 5000));
        memset(buf.data, 0xff, 5000);
        buf.len = 5000;
        assert_int_equal(secbuf_live(), 1);
    }
}

static void test_wipe_keeps_the_memory(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    secbuf_wipe(&buf);
    assert_ok(secbuf_alloc(&buf, 100));
    unsigned char *data = buf.data;
    memset(data, 0xff, 100);
    buf.len = 10;
    secbuf_wipe(&buf);
    assert_ptr_equal(buf.data, data);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.capacity, 100);
    assert_true(is_zero(data, 100));
}

static void test_release(void **state)
{
    (void)state;
    struct secbuf a = SECBUF_INIT;
    struct secbuf b = SECBUF_INIT;
    char flags[256];

    secbuf_release(&a);
    assert_int_equal(secbuf_live(), 0);
    assert_ok(secbuf_alloc(&a, 1));
    assert_ok(secbuf_alloc(&b, 1));
    assert_int_equal(secbuf_live(), 2);
    unsigned char *data = a.data;
    secbuf_release(&a);
    assert_ptr_equal(freed, data); /* which wipes, says libsodium */
    mapping_flags(data, flags);
    assert_string_equal(flags, "");
    assert_null(a.data);
    assert_int_equal(a.len + a.capacity, 0);
    assert_int_equal(secbuf_live(), 1);
    secbuf_release(&a);
    assert_int_equal(secbuf_live(), 1);
    secbuf_release(&b);
}

static void test_reserve(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    assert_ok(secbuf_reserve(&buf, 0));
    assert_non_null(buf.data);
    assert_ok(secbuf_reserve(&buf, 100));
    unsigned char *data = buf.data;
    memset(data, 0xff, 100);
    buf.len = 100;
    assert_ok(secbuf_reserve(&buf, 50));
    assert_ptr_equal(buf.data, data);
    assert_int_equal(buf.len, 0);
    assert_int_equal(buf.capacity, 100);
    assert_true(is_zero(data, 100));
    assert_ok(secbuf_reserve(&buf, 101));
    assert_int_equal(buf.capacity, 101);
    assert_true(is_zero(buf.data, 101));
    assert_int_equal(secbuf_live(), 1);
}

static void test_capacity_zero(void **state)
{
    (void)state;
    struct secbuf buf = SECBUF_INIT;
    assert_ok(secbuf_alloc(&buf, 0));
    assert_non_null(buf.data);
    assert_int_equal(buf.capacity, 0);
    assert_int_equal(secbuf_live(), 1);
    secbuf_wipe(&buf);
    secbuf_release(&buf);
    assert_int_equal(secbuf_live(), 0);
}

static void test_refuses_memory_that_cannot_be_locked(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    assert_ok(secbuf_alloc(&buf, 64));
    lock_fails = true;
    enum store_err refused = secbuf_alloc(&buf, 64);
    struct secbuf after = buf;
    secmem_allow_swap(true);
    enum store_err allowed = secbuf_alloc(&buf, 64);
    secmem_allow_swap(false);
    lock_fails = false;
    assert_error(refused, STORE_ERR_MEMORY_LOCK);
    assert_null(after.data);
    assert_ok(allowed);
}

static void test_refuses_what_no_machine_has(void **state)
{
    (void)state;
    struct secbuf buf = SECBUF_INIT;
    assert_error(secbuf_alloc(&buf, SIZE_MAX - 4096), STORE_ERR_NO_MEMORY);
    assert_null(buf.data);
    assert_int_equal(secbuf_live(), 0);
}

/* A write one byte behind the buffer ends the process. */
static void test_guarded(void **state)
{
    (void)state;
    SECBUF_AUTO struct secbuf buf = SECBUF_INIT;
    int status = 0;

    assert_ok(secbuf_alloc(&buf, 4096));
    for (int distance = 0; distance < 2; distance++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            signal(SIGSEGV, SIG_DFL);
            ((volatile unsigned char *)buf.data)[buf.capacity + (size_t)distance - 1] = 1;
            _exit(7);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (distance == 0)
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        else
            assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        plain_test(test_locked_and_left_out_of_cores),
        plain_test(test_starts_as_zeros),
        plain_test(test_wipe_keeps_the_memory),
        plain_test(test_release),
        plain_test(test_reserve),
        plain_test(test_capacity_zero),
        plain_test(test_refuses_memory_that_cannot_be_locked),
        plain_test(test_refuses_what_no_machine_has),
        plain_test(test_guarded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
