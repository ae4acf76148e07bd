"""Makes a stream's bytes from the table of `jepad.ring.layout` alone, without the C library."""

import numpy as np

from jepad.ring.layout import HEADER_DTYPE, HEADER_SIZE, MAGIC, SLOT_DTYPE, SLOT_SIZE

SCHEMA = b'{"columns":["a","b","c"]}'
RECORDS = 6
SLOTS = 4
STRIDE = 64
DATA_OFF = 8192


def crc32c(data):
    """CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def fnv1a(data):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return value


def header():
    """The header of the golden object; what differs from run to run is fixed."""
    h = np.frombuffer(bytearray(HEADER_SIZE), HEADER_DTYPE)[0]
    h["magic"], h["byte_order"], h["abi_major"] = MAGIC, 0x01020304, 1
    h["header_size"], h["flags"] = HEADER_SIZE, 1
    h["boot_id"], h["generation"] = np.arange(16), 0x1122334455667788
    h["dtype_code"], h["bits"], h["lanes"], h["ndim"] = 2, 32, 1, 2
    h["shape"] = [2, 3, 0, 0, 0, 0]
    h["slot_count"], h["payload_stride"], h["payload_cap"] = SLOTS, STRIDE, 24
    h["slothdr_off"], h["data_off"] = HEADER_SIZE, DATA_OFF
    h["schema_off"], h["schema_len"] = HEADER_SIZE + SLOTS * SLOT_SIZE, len(SCHEMA)
    h["total_size"] = DATA_OFF + SLOTS * STRIDE
    h["name"], h["model_sha256"] = b"golden", np.arange(32)
    h["head"], h["notify"], h["writer_epoch"], h["state"] = RECORDS, 1, 1, 2
    h["heartbeat_mono_ns"], h["pid"] = 2005, 1234
    return h


def seal(h):
    """The header's bytes with both checksums made right; `h` may say anything."""
    h["layout_hash"] = fnv1a(h.tobytes()[0x40:0x100] + SCHEMA)
    h["header_crc32c"] = crc32c(h.tobytes()[:0x100])
    return h.tobytes()


def image(h=None):
    """The whole golden object: records 2 to 5 of six."""
    h = header() if h is None else h
    out = bytearray(DATA_OFF + SLOTS * STRIDE)
    out[:HEADER_SIZE] = seal(h)
    at = HEADER_SIZE + SLOTS * SLOT_SIZE
    out[at : at + len(SCHEMA)] = SCHEMA
    for n in range(RECORDS):
        payload = (np.arange(6) + 10 * n).astype("<f4").tobytes()
        s = np.frombuffer(bytearray(SLOT_SIZE), SLOT_DTYPE)[0]
        s["seq"], s["t_capture_ns"], s["t_publish_ns"] = 2 * n + 2, 1000 + n, 2000 + n
        s["len"], s["flags"], s["crc32c"], s["epoch"] = 24, n & 1, crc32c(payload), 1
        s["source_n"], s["aux"] = 100 + n, [n, (1 << 64) - 1 - n]
        slot, data = HEADER_SIZE + n % SLOTS * SLOT_SIZE, DATA_OFF + n % SLOTS * STRIDE
        out[slot : slot + SLOT_SIZE] = s.tobytes()
        out[data : data + 24] = payload
    return bytes(out)
