#!/usr/bin/env python3
"""Known-answer vectors of format 1, computed without libsodium and without our C code.

Everything here is written from the specifications (RFC 7693 by hashlib, RFC 8439,
draft-irtf-cfrg-xchacha, RFC 9106, the Padme paper) and from store/FORMAT.md, on Python's standard
library alone. `generate.py` writes v1.txt beside itself, `generate.py --check` compares with it.
"""
import base64
import hashlib
import os
import struct
import sys

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


# ---- BLAKE2b: keyed hash and crypto_kdf ----------------------------------------------------------

def blake2b(data, size, key=b"", salt=b"", person=b""):
    return hashlib.blake2b(data, digest_size=size, key=key, salt=salt, person=person).digest()


def kdf(key, number, context):
    return blake2b(b"", 32, key, struct.pack("<Q", number) + bytes(8), context + bytes(8))


# ---- XChaCha20-Poly1305 --------------------------------------------------------------------------

def rotl32(v, n):
    return (v << n | v >> (32 - n)) & MASK32


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & MASK32
        s[z] = rotl32(s[z] ^ s[x], n)


def chacha_rounds(state):
    s = list(state)
    for _ in range(10):
        for i in range(4):
            quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return s


def chacha_state(key, tail):
    return struct.unpack("<16I", b"expand 32-byte k" + key + tail)


def hchacha20(key, nonce16):
    s = chacha_rounds(chacha_state(key, nonce16))
    return struct.pack("<8I", *(s[0:4] + s[12:16]))


def chacha20(key, nonce12, counter, length):
    out = b""
    while len(out) < length:
        state = chacha_state(key, struct.pack("<I", counter) + nonce12)
        mixed = chacha_rounds(state)
        out += struct.pack("<16I", *((a + b) & MASK32 for a, b in zip(state, mixed)))
        counter += 1
    return out[:length]


def poly1305(key, message):
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    acc = 0
    for i in range(0, len(message), 16):
        block = int.from_bytes(message[i:i + 16] + b"\x01", "little")
        acc = (acc + block) * r % ((1 << 130) - 5)
    return ((acc + int.from_bytes(key[16:], "little")) & ((1 << 128) - 1)).to_bytes(16, "little")


def pad16(data):
    return bytes(-len(data) % 16)


def xchacha20poly1305(key, nonce24, plain, ad):
    """Returns ciphertext and tag."""
    subkey = hchacha20(key, nonce24[:16])
    nonce = bytes(4) + nonce24[16:]
    stream = chacha20(subkey, nonce, 1, len(plain))
    box = bytes(a ^ b for a, b in zip(plain, stream))
    mac = ad + pad16(ad) + box + pad16(box) + struct.pack("<QQ", len(ad), len(box))
    return box, poly1305(chacha20(subkey, nonce, 0, 32), mac)


# ---- X25519 (RFC 7748) ---------------------------------------------------------------------------

P25519 = (1 << 255) - 19
BASE_POINT = (9).to_bytes(32, "little")


def x25519(scalar, point):
    k = int.from_bytes(scalar, "little") & ~(7 | 1 << 255) | 1 << 254
    x1 = int.from_bytes(point, "little") & ~(1 << 255)
    x2, z2, x3, z3 = 1, 0, x1, 1
    for t in reversed(range(255)):
        bit = k >> t & 1
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a, b * b, d * a, c * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P25519, x1 * (da - cb) ** 2 % P25519
        x2, z2 = aa * bb % P25519, e * (aa + 121665 * e) % P25519
        if bit:
            x2, z2, x3, z3 = x3, z3, x2, z2
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, "little")


# RFC 7748, section 5.2, so that an error here is not one of ours
assert x25519(
    bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
    bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


# ---- Argon2id, one lane --------------------------------------------------------------------------

def long_hash(data, size):
    data = struct.pack("<I", size) + data
    if size <= 64:
        return blake2b(data, size)
    out, v = b"", blake2b(data, 64)
    while size - len(out) > 64:
        out += v[:32]
        v = blake2b(v, min(64, size - len(out)))
    return out + v


def mix(v, a, b, c, d):
    for x, y, z, n in ((a, b, d, 32), (c, d, b, 24), (a, b, d, 16), (c, d, b, 63)):
        v[x] = (v[x] + v[y] + 2 * (v[x] & MASK32) * (v[y] & MASK32)) & MASK64
        t = v[z] ^ v[x]
        v[z] = (t >> n | t << (64 - n)) & MASK64


def permute(words, places):
    v = [words[p] for p in places]
    for i in range(4):
        mix(v, i, 4 + i, 8 + i, 12 + i)
    for i in range(4):
        mix(v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    for p, word in zip(places, v):
        words[p] = word


def compress(x, y):
    r = [a ^ b for a, b in zip(x, y)]
    z = list(r)
    for row in range(8):
        permute(z, range(16 * row, 16 * row + 16))
    for column in range(8):
        permute(z, [16 * i + 2 * column + j for i in range(8) for j in range(2)])
    return [a ^ b for a, b in zip(r, z)]


def argon2id(password, salt, passes, kib, size):
    h0 = blake2b(struct.pack("<6I", 1, size, kib, passes, 0x13, 2)
                 + struct.pack("<I", len(password)) + password
                 + struct.pack("<I", len(salt)) + salt + struct.pack("<II", 0, 0), 64)
    count = kib // 4 * 4
    segment = count // 4
    zero = [0] * 128
    blocks = [list(zero) for _ in range(count)]
    for i in range(2):
        blocks[i] = list(struct.unpack("<128Q", long_hash(h0 + struct.pack("<II", i, 0), 1024)))
    for turn in range(passes):
        for part in range(4):
            addresses, counter = [], 0
            for i in range(2 if turn == 0 and part == 0 else 0, segment):
                at = part * segment + i
                before = blocks[at - 1]
                if turn == 0 and part < 2:
                    while len(addresses) <= i:
                        counter += 1
                        source = [turn, 0, part, count, passes, 2, counter] + [0] * 121
                        addresses += compress(zero, compress(zero, source))
                    j1 = addresses[i] & MASK32
                else:
                    j1 = before[0] & MASK32
                area = part * segment + i - 1 if turn == 0 else count - segment + i - 1
                start = 0 if turn == 0 else (part + 1) * segment % count
                other = (start + area - 1 - (area * (j1 * j1 >> 32) >> 32)) % count
                block = compress(before, blocks[other])
                if turn > 0:
                    block = [a ^ b for a, b in zip(block, blocks[at])]
                blocks[at] = block
    return long_hash(struct.pack("<128Q", *blocks[-1]), size)


# ---- What others have published ------------------------------------------------------------------

def check_published():
    """draft-irtf-cfrg-xchacha-03, A.3.1; the reference implementation of Argon2, src/test.c."""
    plain = (b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the "
             b"future, sunscreen would be it.")
    box, tag = xchacha20poly1305(counting(0x80, 32), counting(0x40, 24), plain,
                                 bytes.fromhex("50515253c0c1c2c3c4c5c6c7"))
    assert box.hex() == ("bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
                         "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
                         "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
                         "21f9664c97637da9768812f615c68b13b52e")
    assert tag.hex() == "c0875924c1c7987947deafd8780acf49"
    assert argon2id(b"password", b"somesalt", 2, 256, 32).hex() == (
        "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe")


# ---- FORMAT.md -----------------------------------------------------------------------------------

FORMAT = 1
ROOT, SLOT, NODE, VERSION = 1, 2, 3, 4


def padded_len(length):
    marked = length + 1
    if marked <= 256:
        return 256
    e = marked.bit_length() - 1
    mask = (1 << (e - e.bit_length())) - 1
    return (marked + mask) & ~mask


def seal(keys, uuid, table, row, plain, nonce):
    """Returns the seal (nonce and tag) and the box."""
    padded = plain + b"\x80" + bytes(padded_len(len(plain)) - len(plain) - 1)
    ad = bytes([FORMAT]) + uuid + bytes([table]) + struct.pack("<Q", row)
    box, tag = xchacha20poly1305(keys[0], nonce, padded, ad)
    return nonce + tag, box


def lookup_hash(keys, parent, name, deleted):
    return blake2b(struct.pack("<QQ", parent, deleted) + name, 32, keys[1])


def row_hash(keys, table, row, generation, *columns):
    return blake2b(struct.pack("<BQQ", table, row, generation) + b"".join(columns), 16, keys[2])


def fields(*items):
    return b"".join(struct.pack("<BI", tag, len(data)) + data for tag, data in items)


def u8(v):
    return struct.pack("<B", v)


def u16(v):
    return struct.pack("<H", v)


def u32(v):
    return struct.pack("<I", v)


def u64(v):
    return struct.pack("<Q", v)


def slot_master(uuid, row, kind, secret, salt, passes, kib, pair):
    if kind in (1, 4):
        return blake2b(salt, 32, secret)
    if kind == 2:
        return argon2id(secret, salt, passes, kib, 32)
    once, recipient = secret
    shared = x25519(once, recipient)
    return blake2b(b"secretfs recipient slot" + uuid + u64(row) + salt + pair, 32, shared)


def slot_record(uuid, row, kind, secret, salt, passes, kib, nonce, root_key, command=b""):
    """The secret of a recipient's slot: the secret key used once, and the recipient."""
    pair = x25519(secret[0], BASE_POINT) + secret[1] if kind == 3 else b""
    master = slot_master(uuid, row, kind, secret, salt, passes, kib, pair)
    ad = slot_ad(uuid, row, kind, salt, passes, kib) + pair + command
    box, tag = xchacha20poly1305(kdf(master, 1, b"sfs-slot"), nonce, root_key, ad)
    more = [(8, pair[:32]), (9, pair[32:])] if kind == 3 else [(10, command)] if kind == 4 else []
    return fields((1, u8(kind)), (2, salt), (3, u32(passes)), (4, u32(kib)), (5, nonce),
                  (6, kdf(master, 2, b"sfs-slot")), (7, box + tag), *more)


def slot_ad(uuid, row, kind, salt, passes, kib):
    return (bytes([FORMAT]) + uuid + bytes([SLOT]) + u64(row) + bytes([kind]) + salt + u32(passes)
            + u32(kib))


def two_keys_box(keys, nonce, ad):
    """
    32 bytes and a tag that XChaCha20-Poly1305 opens under both keys. A tag is a polynomial of the
    blocks at a point of its key, plus a number of its key; so with one block left to choose, two
    tags are made equal by solving one linear equation, until the block is one of 128 bits.
    """
    p, high = (1 << 130) - 5, 1 << 128
    ones = [chacha20(hchacha20(key, nonce[:16]), bytes(4) + nonce[16:], 0, 32) for key in keys]
    r = [int.from_bytes(one[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF for one in ones]
    end = [int.from_bytes(one[16:], "little") for one in ones]
    head, tail = ad + pad16(ad), struct.pack("<QQ", len(ad), 32)
    first = 0
    while True:
        first += 1
        fixed = head + first.to_bytes(16, "little") + bytes(16) + tail
        sums = []
        for i in range(2):
            acc = 0
            for at in range(0, len(fixed), 16):
                acc = (acc + int.from_bytes(fixed[at:at + 16], "little") + high) * r[i] % p
            sums.append(acc)
        for carry in range(-4, 5):
            wanted = sums[1] + end[1] - sums[0] - end[0] + carry * high
            block = wanted * pow(r[0] ** 2 - r[1] ** 2, -1, p) % p
            if block >= high:
                continue
            box = first.to_bytes(16, "little") + block.to_bytes(16, "little")
            data = ad + pad16(ad) + box + tail
            tags = {poly1305(one, data) for one in ones}
            if len(tags) == 1:
                return box + tags.pop()


def two_keys_slot(uuid, row, secrets, salt, nonce):
    """A slot whose wrapped key opens under two key files; with the commitment of either."""
    masters = [blake2b(salt, 32, secret) for secret in secrets]
    box = two_keys_box([kdf(master, 1, b"sfs-slot") for master in masters], nonce,
                       slot_ad(uuid, row, 1, salt, 0, 0))
    return [fields((1, u8(1)), (2, salt), (3, u32(0)), (4, u32(0)), (5, nonce),
                   (6, kdf(master, 2, b"sfs-slot")), (7, box)) for master in masters]


def key_text(prefix, key):
    coded = base64.urlsafe_b64encode(key + blake2b(prefix + key, 16)[:4])
    return prefix + coded


def audit_line(key, state, sequence, time, rest):
    """Returns the chain and the line; `rest` is what stands between its number and its chain."""
    body = b'{"time":"%s","seq":%d,%s' % (time, sequence, rest)
    chain = blake2b(state + body, 16, key)
    return chain, body + b',"chain":"%s"}\n' % chain.hex().encode()


def audit_lines(key):
    opened = (b'"event":"open","path":"db/password","version":3,"uid":1000,"gid":1000,"pid":4242,'
              b'"executable":"/usr/bin/cat","unit":null,"container":null,"result":"ok"')
    refused = (b'"event":"open","path":"a \\"b\\"\\\\\\u0001\xef\xbf\xbd\xc3\xa9","version":null,'
               b'"uid":null,"gid":null,"pid":null,"executable":null,"unit":"x.service",'
               b'"container":"0123456789ab","sudo":true,"result":"EACCES",'
               b'"detail":"mode 0400 -> 0440","count":7,"inferred":true')
    first, line = audit_line(key, bytes(16), 1, b"2026-11-24T18:20:31.123456Z", opened)
    yield "audit_line_1", line
    second, line = audit_line(key, first, 2, b"2026-11-24T18:20:31.123456Z", refused)
    yield "audit_line_2", line
    late, line = audit_line(key, first, 2, b"2026-11-24T18:20:32.000000Z", opened)
    yield "audit_line_late", line
    yield "audit_state", blake2b(blake2b(second + late, 16) + b'{"time":"20', 16)


def anchor_slot(keys, uuid, generation, next_id, seen, root_record):
    """Returns the root hash and the slot."""
    root_hash = blake2b(root_record, 16, keys[3])
    slot = (b"sfs-anch" + u32(1) + uuid + u64(generation) + u64(next_id) + u64(seen) + root_hash)
    return root_hash, slot + blake2b(slot, 32, keys[4])


def counting(start, length):
    return bytes((start + i) & 0xFF for i in range(length))


def vectors():
    root_key, uuid = counting(0x00, 32), counting(0x40, 16)
    keys = [kdf(root_key, i, b"secretfs") for i in (1, 2, 3, 4, 5, 6)]
    yield "root_key", root_key
    yield "uuid", uuid
    yield "subkeys", b"".join(keys)

    lengths = [0, 1, 254, 255, 256, 257, 270, 271, 300, 511, 512, 1000, 1023, 1024, 4095, 4096,
               4097, 65535, 65536, 70000, 1048575, 1048576, 1048603]
    yield "padded", b"".join(u32(n) + u32(padded_len(n)) for n in lengths)

    nonce = counting(0x80, 24)
    for length in (0, 13, 255, 256, 1000):
        plain = counting(length, length)
        sealed, box = seal(keys, uuid, NODE, 17, plain, nonce)
        yield "plain_%d" % length, plain
        yield "seal_%d" % length, sealed
        yield "box_%d" % length, box
    yield "nonce", nonce

    lookup = lookup_hash(keys, 16, "pa\u00dfwort".encode(), 0)
    sealed, box = seal(keys, uuid, NODE, 17, counting(13, 13), nonce)
    yield "lookup", lookup
    yield "lookup_deleted", lookup_hash(keys, 16, "pa\u00dfwort".encode(), 17)
    yield "row_node", row_hash(keys, NODE, 17, 5, lookup, sealed)
    yield "row_version", row_hash(keys, VERSION, 18, 6, sealed)

    salt, key_file, phrase = counting(0xA0, 16), counting(0xC0, 32), b"correct horse"
    slot_key = slot_record(uuid, 1, 1, key_file, salt, 0, 0, nonce, root_key)
    yield "salt", salt
    yield "key_file", key_file
    yield "passphrase", phrase
    yield "slot_key_file", slot_key
    yield "slot_passphrase", slot_record(uuid, 2, 2, phrase, salt, 2, 64, nonce, root_key)
    yield "row_slot", row_hash(keys, SLOT, 1, 1, slot_key)

    identity, once = counting(0xE0, 32), counting(0x20, 32)
    recipient = x25519(identity, BASE_POINT)
    yield "identity", identity
    yield "identity_text", key_text(b"secretfs-identity:", identity)
    yield "recipient", recipient
    yield "recipient_text", key_text(b"secretfs-recipient:", recipient)
    yield "ephemeral", once
    yield "slot_recipient", slot_record(uuid, 3, 3, (once, recipient), salt, 0, 0, nonce, root_key)
    command = b"/usr/libexec/unlock"
    yield "command", command
    yield "slot_command", slot_record(uuid, 4, 4, key_file, salt, 0, 0, nonce, root_key, command)
    other = counting(0xC1, 32)
    yield "other_key_file", other
    one, two = two_keys_slot(uuid, 5, (key_file, other), salt, nonce)
    yield "slot_two_keys", one
    yield "slot_two_keys_other", two

    root_fields = [(1, u64(7)), (2, u64(21)), (3, u64(1) + u64(2) + u64(3)),
                   (4, u64(0x0123456789ABCDEF) + u64(0xFEDCBA9876543210))]
    yield "record_root", fields(*root_fields)
    yield "record_root_accepted", fields(
        *root_fields, (5, u64(6) + u64(3) + u64(5) + u64(1700000000 * 10**9)))
    former = u64(40) + counting(0x10, 16) + counting(0xb0, 72)
    yield "record_root_audit", fields(
        *root_fields, (6, former), (7, u64(42) + counting(0x20, 16) + u64(1700000000 * 10**9)))
    yield from audit_lines(keys[5])
    root_hash, slot = anchor_slot(keys, uuid, 7, 21, 1700000000 * 10**9, fields(*root_fields))
    yield "root_hash", root_hash
    yield "anchor_slot", slot
    yield "record_root_directory", fields(
        (1, u8(1)), (2, u64(0)), (3, b""), (4, u64(1)), (5, u64(2)), (6, u64(3)), (7, u32(0)),
        (8, u32(0)), (9, u16(0o755)), (13, u64(4)))
    yield "record_directory", fields(
        (1, u8(1)), (2, u64(16)), (3, b"db"), (4, u64(1)), (5, u64(2)), (6, u64(3)),
        (7, u32(1000)), (8, u32(1001)), (9, u16(0o750)), (12, u64(9)), (13, u64(4)))
    acl = u8(5) + u8(1) + u8(4) + u32(1000) + u8(2) + u8(7) + u32(33)
    versions = (u64(18) + u32(1) + u32(5) + u64(100) + u64(20) + u32(3) + u32(1048576) + u64(300))
    yield "record_secret", fields(
        (1, u8(2)), (2, u64(16)), (3, "pa\u00dfwort".encode()), (4, u64(100)), (5, u64(300)),
        (6, u64(301)), (7, u32(70)), (8, u32(71)), (9, u16(0o640)), (10, acl),
        (11, b"the database's password"), (14, u32(4)), (15, u64(20)), (16, u64(18)),
        (17, versions))
    yield "record_rotated_secret", fields(
        (1, u8(2)), (2, u64(16)), (3, b"token"), (4, u64(100)), (5, u64(300)), (6, u64(301)),
        (7, u32(70)), (8, u32(71)), (9, u16(0o400)), (14, u32(2)), (15, u64(18)),
        (17, u64(18) + u32(1) + u32(5) + u64(100)), (40, u64(30 * 86400)), (41, b"password:24"))
    yield "record_secret_in_rotation", fields(
        (1, u8(2)), (2, u64(16)), (3, b"role"), (4, u64(100)), (5, u64(300)), (6, u64(301)),
        (7, u32(70)), (8, u32(71)), (9, u16(0o400)), (14, u32(4)), (15, u64(18)),
        (17, versions), (20, u64(20)), (40, u64(86400)), (41, b"hex:32"), (42, b"postgresql"),
        (43, u8(2) + u32(1) + u32(3)), (44, u32(90)))
    yield "record_ruled_secret", fields(
        (1, u8(2)), (2, u64(16)), (3, b"tls"), (4, u64(100)), (5, u64(300)), (6, u64(301)),
        (7, u32(70)), (8, u32(71)), (9, u16(0o400)), (14, u32(2)), (15, u64(18)),
        (17, u64(18) + u32(1) + u32(5) + u64(100)), (40, u64(86400)),
        (50, b"a@b.service\0nginx.service\0"), (51, b"/usr/sbin/nginx\0"))
    yield "record_ruled_directory", fields(
        (1, u8(1)), (2, u64(16)), (3, b"db"), (4, u64(1)), (5, u64(2)), (6, u64(3)),
        (7, u32(1000)), (8, u32(1001)), (9, u16(0o750)), (12, u64(9)), (13, u64(4)),
        (51, b"/bin/a\0/bin/b\0"))
    yield "record_revoked_secret", fields(
        (1, u8(2)), (2, u64(16)), (3, b"old"), (4, u64(100)), (5, u64(300)), (6, u64(301)),
        (7, u32(0)), (8, u32(0)), (9, u16(0o400)), (14, u32(4)), (15, u64(20)), (16, u64(18)),
        (17, versions), (18, u32(1) + u64(400) + u32(3) + u64(401)), (19, u64(500)))
    yield "record_pending_secret", fields(
        (1, u8(2)), (2, u64(16)), (3, b"key"), (4, u64(100)), (5, u64(300)), (6, u64(301)),
        (7, u32(70)), (8, u32(71)), (9, u16(0o400)), (14, u32(4)), (15, u64(18)),
        (17, versions), (20, u64(20)), (40, u64(86400)))
    yield "record_removed_directory", fields(
        (1, u8(1)), (2, u64(16)), (3, b"gone"), (4, u64(1)), (5, u64(9)), (6, u64(3)), (7, u32(0)),
        (8, u32(0)), (9, u16(0o755)), (12, u64(9)), (13, u64(4)), (21, u64(9)))
    yield "record_removed_secret", fields(
        (1, u8(2)), (2, u64(16)), (3, b"token"), (4, u64(100)), (5, u64(400)), (6, u64(301)),
        (7, u32(70)), (8, u32(71)), (9, u16(0o400)), (12, u64(400)), (14, u32(2)), (15, u64(18)),
        (17, u64(18) + u32(1) + u32(5) + u64(100)), (21, u64(400 + 7 * 86400 * 10**9)))
    yield "record_version", fields((1, u64(17)), (2, u32(3)), (3, b"hunter2"))


def main():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "v1.txt")
    text = "# Made by generate.py; a name, and its bytes in hexadecimal.\n"
    text += "".join("%s %s\n" % (name, data.hex() or "-") for name, data in vectors())
    check_published()
    if sys.argv[1:] == ["--check"]:
        with open(path, encoding="ascii") as f:
            if f.read() != text:
                sys.exit("%s is not what generate.py makes" % path)
        return
    with open(path, "w", encoding="ascii") as f:
        f.write(text)


if __name__ == "__main__":
    main()
