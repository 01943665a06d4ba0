//! Two domains that run: what the second one, without rights, is told, events there and back, and its end with mappings
//! both ways.

use pv_guest_shim::events;
use pv_guest_shim::grant::{self, flags, offer, withdraw};
use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::event_channel::EvtchnStat;
use pv_guest_shim::hypercall_abi::grant_table::GntStatus;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr as Nr, StartInfo};
use pv_guest_shim::mmu;

use super::map;
use super::remote::{self, Remote, SPARE, WINDOW, address};
use crate::pages;
use crate::report::{bits, error, holds, number, same};

/// Rounds of events.
const ROUNDS: u64 = 500;
/// The first reference that is nobody's.
const REF: u32 = 8;

/// The area.
pub fn run(_: &'static StartInfo) {
    let remote = Remote::new();
    let version = remote.call(Nr::XEN_VERSION, [0, 0]);
    same("the second domain answers", version, Some(0x4_0011));
    if version.is_none() {
        return;
    }
    rounds(&remote);
    tables(&remote);
    memory(&remote);
    control(&remote);
    ports(&remote);
    grants(&remote);
    end(&remote);
}

fn rounds(remote: &Remote) {
    let before = remote.count();
    let answered = (0..ROUNDS)
        .take_while(|_| remote.call(Nr::XEN_VERSION, [0, 0]) == Some(0x4_0011))
        .count();
    number("events there and back", answered as i64, ROUNDS as i64);
    number(
        "each came once",
        (remote.count() - before) as i64,
        ROUNDS as i64,
    );
}

/// Page tables: of its own, and of others.
fn tables(remote: &Remote) {
    let own = remote.domain.frames[SPARE];
    let theirs = mmu::virt_to_mfn(pages::take());
    let entry = (remote.domain.frames[remote::L1] << 12) | (WINDOW * 8);
    let update = |val: u64, foreign: u64| {
        // The requests, and the count behind them.
        let words = [entry, val, 0x77];
        let args = [0, 1, address(3) + 16, foreign, 0];
        let result = remote.with_argument(Nr::MMU_UPDATE, args, 0, &words);
        (result, remote.answer::<u32>(16))
    };
    let failed = |errno: Errno, done: u32| (-(errno as i64), done);
    let flags = mmu::KERNEL_RW;
    let me = u64::from(remote.domain.id.0);
    same("own page", update(own << 12 | flags, 0x7ff0), (0, 1));
    for (name, val, foreign, expected) in [
        (
            "page of the first domain",
            theirs << 12 | flags,
            0,
            failed(Errno::EPERM, 0),
        ),
        (
            "page of the first domain as the own",
            theirs << 12 | flags,
            0x7ff0,
            failed(Errno::EBUSY, 0),
        ),
        ("nothing of the first domain", 0, 0, failed(Errno::EPERM, 0)),
        (
            "page of the hypervisor",
            own << 12 | flags,
            0x7ff2,
            failed(Errno::EPERM, 0),
        ),
        (
            "own page as a device's",
            theirs << 12 | flags,
            0x7ff1,
            failed(Errno::EBUSY, 0),
        ),
        (
            "device frame",
            0xfd00_0000 | flags,
            0x7ff1,
            failed(Errno::EPERM, 0),
        ),
        (
            "device frame as the own",
            0xfd00_0000 | flags,
            0x7ff0,
            failed(Errno::EPERM, 0),
        ),
        (
            "page by the own number",
            own << 12 | flags,
            me,
            failed(Errno::ESRCH, 0),
        ),
        (
            "entry of the first domain's tables",
            0,
            1 << 16 | 0x7ff0,
            failed(Errno::EPERM, 0),
        ),
        (
            "entry by the own number",
            0,
            (me + 1) << 16 | 0x7ff0,
            (0, 1),
        ),
    ] {
        same(name, update(val, foreign), expected);
    }
    let other = |val: u64, domain: u64| {
        let args = [address(WINDOW), val, 2, domain];
        remote.call(Nr::UPDATE_VA_MAPPING_OTHERDOMAIN, args)
    };
    let eperm = Some(-(Errno::EPERM as i64));
    same(
        "update_va of the first domain's",
        other(theirs << 12 | flags, 0),
        eperm,
    );
    same("update_va of a device's", other(0, 0x7ff1), eperm);
    same("update_va of the hypervisor's", other(0, 0x7ff2), eperm);
    for (name, cmd) in [
        ("pin", 0u64),
        ("unpin", 4),
        ("clear", 16),
        ("flush", 6),
        ("mark", 19),
        ("unknown", 14),
    ] {
        for (owner, domain) in [
            ("the first domain's", 0),
            ("a device's", 0x7ff1),
            ("the hypervisor's", 0x7ff2),
        ] {
            let args = [0, 1, 0, domain, 0];
            error(
                format_args!("{name} as {owner}"),
                remote.with_argument(Nr::MMUEXT_OP, args, 0, &[cmd, theirs, 0]),
                Errno::EPERM,
            );
        }
    }
}

fn memory(remote: &Remote) {
    let op = |number: u64, words: &[u64]| {
        remote.with_argument(Nr::MEMORY_OP, [number, 0, 0, 0, 0], 1, words)
    };
    let list = address(3) + 512;
    let reserve = |number: u64, domain: u64, order: u64, flags: u64| {
        op(number, &[list, 1, order | flags << 32, domain])
    };
    for number in [3, 4, 14] {
        error(
            format_args!("memory_op {number} of the first domain"),
            op(number, &[0]),
            Errno::EPERM,
        );
    }
    number(
        "its own size",
        op(3, &[0x7ff0]),
        super::domain::PAGES as i64,
    );
    for (name, number, domain, order, flags, done) in [
        ("populate for the first domain", 6, 0, 0, 0, 0),
        ("decrease for the first domain", 1, 0, 0, 0, 0),
        ("populate of order 10", 6, 0x7ff0, 10, 0, 0),
        (
            "populate on node 0 exactly",
            6,
            0x7ff0,
            0,
            1 << 8 | 1 << 17,
            0,
        ),
        ("populate on demand", 6, 0x7ff0, 0, 1 << 16, 0),
        ("populate on node 64 if possible", 6, 0x7ff0, 0, 65 << 8, 1),
        ("populate", 6, 0x7ff0, 0, 0, 1),
    ] {
        self::number(name, reserve(number, domain, order, flags), done);
    }
    for (name, number, words, errno) in [
        (
            "set_memory_map of the first domain",
            13,
            [0, 0, 0, 0, 0, 0],
            Errno::EPERM,
        ),
        ("machine_memory_map", 10, [100, 0, 0, 0, 0, 0], Errno::EPERM),
        (
            "claim_pages",
            24,
            [0, 17, 0, remote.domain.id.0.into(), 0, 0],
            Errno::EPERM,
        ),
        ("add_to_physmap", 7, [0x7ff0, 0, 0, 0, 0, 0], Errno::EACCES),
        (
            "add_to_physmap of the first domain",
            7,
            [0, 0, 0, 0, 0, 0],
            Errno::EACCES,
        ),
        (
            "remove_from_physmap",
            15,
            [0x7ff0, 0, 0, 0, 0, 0],
            Errno::EACCES,
        ),
        (
            "remove_from_physmap of the first domain",
            15,
            [0, 0, 0, 0, 0, 0],
            Errno::EACCES,
        ),
        ("get_pod_target", 17, [0, 0, 0, 0, 0x7ff0, 0], Errno::EINVAL),
        (
            "get_vnumainfo",
            26,
            [0x7ff0, 0, 0, 0, 0, 0],
            Errno::EOPNOTSUPP,
        ),
        (
            "get_vnumainfo of the first domain",
            26,
            [0, 0, 0, 0, 0, 0],
            Errno::EPERM,
        ),
        (
            "acquire_resource of the first domain",
            28,
            [1 << 16, 0, 0, 0, 0, 0],
            Errno::EPERM,
        ),
        (
            "access_op of the first domain",
            21,
            [0, 0, 0, 0, 0, 0],
            Errno::EINVAL,
        ),
        (
            "memory_map of none",
            9,
            [1, list, 0, 0, 0, 0],
            Errno::ENOSYS,
        ),
    ] {
        error(name, op(number, &words), errno);
    }
}

fn control(remote: &Remote) {
    for cmd in [3u64, 5, 12, 61] {
        let words = [cmd | 0x15 << 32, 0, 0, 0];
        error(
            format_args!("domctl {cmd}"),
            remote.with_argument(Nr::DOMCTL, [0; 5], 0, &words),
            Errno::EPERM,
        );
    }
    error(
        "sysctl",
        remote.with_argument(Nr::SYSCTL, [0; 5], 0, &[3 | 0x15 << 32]),
        Errno::EPERM,
    );
}

fn ports(remote: &Remote) {
    let op = |number: u64, words: &[u64]| {
        remote.with_argument(Nr::EVENT_CHANNEL_OP, [number, 0, 0, 0, 0], 1, words)
    };
    error(
        "alloc_unbound for the first domain",
        op(6, &[0]),
        Errno::EPERM,
    );
    error(
        "status of the first domain's port",
        op(5, &[1 << 32, 0, 0]),
        Errno::EPERM,
    );
    error("reset of the first domain", op(10, &[0]), Errno::EPERM);
    error(
        "bind_interdomain to nothing",
        op(0, &[9 << 32, 0]),
        Errno::EINVAL,
    );
    // A port of the first domain that waits for the second.
    let port = events::alloc_unbound(remote.domain.id).unwrap_or(0);
    holds("port for the second domain", port, port != 0);
    number("bind_interdomain", op(0, &[u64::from(port) << 32, 0]), 0);
    let theirs: u32 = remote.answer(8);
    let near = events::status(DomId::SELF, port).map(|op| {
        let end = op.u.as_interdomain();
        (op.status, end.dom, end.port)
    });
    same(
        "both ends",
        near,
        Ok((EvtchnStat::INTERDOMAIN, remote.domain.id, theirs)),
    );
    number("close", op(3, &[theirs.into()]), 0);
    let near = events::status(DomId::SELF, port).map(|op| op.status);
    same("the other end waits", near, Ok(EvtchnStat::UNBOUND));
    same("close of the other end", events::close(port), Ok(()));
}

fn grants(remote: &Remote) {
    let op = |number: u64, words: &[u64]| {
        remote.with_argument(Nr::GRANT_TABLE_OP, [number, 0, 1, 0, 0], 1, words)
    };
    let status = |offset: u64| GntStatus(remote.answer(offset));
    number(
        "setup_table of the first domain",
        op(2, &[1 << 32, 0, address(3) + 512]),
        0,
    );
    same(
        "setup_table: status",
        status(8),
        GntStatus::PERMISSION_DENIED,
    );
    number("query_size of the first domain", op(6, &[0, 0]), 0);
    same(
        "query_size: status",
        status(12),
        GntStatus::PERMISSION_DENIED,
    );
    error(
        "get_version of the first domain",
        op(10, &[0]),
        Errno::EPERM,
    );
    same("setup_table", grant::init(), Ok(GntStatus::OKAY));
    let page = pages::take();
    let frame = mmu::virt_to_mfn(page);
    let entry = (remote.domain.frames[remote::L1] << 12) | (WINDOW * 8);
    let map_it = |address: u64, flags: u64, reference: u32| {
        let result = op(0, &[address, flags | u64::from(reference) << 32, 0, 0]);
        (result, status(18), remote.answer::<u32>(20))
    };
    offer(REF, 1, DomId(77), frame);
    same(
        "what is offered to another",
        map_it(address(WINDOW), 2, REF).1,
        GntStatus::GENERAL_ERROR,
    );
    offer(REF, 1, remote.domain.id, frame);
    let (_, mapped, handle) = map_it(address(WINDOW), 2, REF);
    same("map a page of the first domain", mapped, GntStatus::OKAY);
    bits("it is in use", flags(REF), 1 | 8 | 16);
    let window = pages::take();
    let table = remote.domain.frames[remote::L1];
    same(
        "look at its table",
        map(window, table, mmu::KERNEL_RO, remote.domain.id),
        (0, 1),
    );
    let value: u64 = pages::read(window + WINDOW * 8);
    bits(
        "its table maps the page",
        value & mmu::ADDRESS_MASK,
        frame << 12,
    );
    same("stop looking", map(window, 0, 0, DomId::SELF), (0, 1));
    number("unmap", op(1, &[address(WINDOW), 0, handle.into()]), 0);
    same("unmap: status", status(20), GntStatus::OKAY);
    bits("it is not in use", flags(REF), 1);
    // Mapped by entry and for devices, to be left behind.
    same(
        "map by entry",
        map_it(entry, 2 | 16, REF).1,
        GntStatus::OKAY,
    );
    same("map for devices", map_it(0, 1, REF).1, GntStatus::OKAY);
    same(
        "map for devices to read",
        map_it(0, 1 | 4, REF).1,
        GntStatus::OKAY,
    );
    bits("it is in use again", flags(REF), 1 | 8 | 16);
}

fn end(remote: &Remote) {
    remote.let_go();
    let domain = &remote.domain;
    number("destroydomain", domain.destroy(), 0);
    bits("what it had mapped is not in use", flags(REF), 1);
    withdraw(REF);
    let end = events::status(DomId::SELF, remote.port).map(|op| op.status);
    same("its channel is loose", end, Ok(EvtchnStat::UNBOUND));
    same("send to nobody", events::send(remote.port), Ok(()));
    for _ in 0..1000 {
        pv_guest_shim::sched::yield_now();
        if !domain.exists() {
            break;
        }
    }
    same("nothing keeps the domain", domain.exists(), false);
    same("close", events::close(remote.port), Ok(()));
}
