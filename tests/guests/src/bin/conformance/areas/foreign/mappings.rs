//! Pages and page tables of the other domain: `mmu_update`, `update_va_mapping_otherdomain`, `mmuext_op`.

use pv_guest_shim::hypercall_abi::errno::Errno;
use pv_guest_shim::hypercall_abi::xen::{DomId, HypercallNr, MmuUpdate, MmuextCmd};
use pv_guest_shim::mmu;

use super::domain::Domain;
use super::{failed, map};
use crate::call::{call, mmu_update, mmuext};
use crate::pages;
use crate::report::{bits, error, number, same};

/// Tables of a domain without a vCPU are out of reach.
pub fn without_vcpu(domain: &Domain) {
    let theirs = u64::from(domain.id.0) + 1;
    let list = [MmuUpdate {
        ptr: domain.frames[9] << 12,
        val: 0,
    }];
    let mut done = 0x77u32;
    let args = [
        list.as_ptr() as u64,
        1,
        (&raw mut done) as u64,
        theirs << 16 | u64::from(domain.id.0),
    ];
    error(
        "tables of a domain without a vCPU",
        call(HypercallNr::MMU_UPDATE, args),
        Errno::EINVAL,
    );
    bits("tables of a domain without a vCPU: done", done, 0);
}

/// The checks.
pub fn run(domain: &Domain) {
    owners(domain);
    tables(domain);
    by_address(domain);
    operations(domain);
    foreign_tables(domain);
}

fn owners(domain: &Domain) {
    let window = pages::take();
    let (frame, own) = (domain.frames[0], mmu::virt_to_mfn(window));
    same("map", map(window, frame, mmu::KERNEL_RW, domain.id), (0, 1));
    bits("a new page is zero", pages::read::<u64>(window), 0);
    pages::write(window, 0x1234_u64);
    let second = pages::take();
    same(
        "map read-only",
        map(second, frame, mmu::KERNEL_RO, domain.id),
        (0, 1),
    );
    bits("both see it", pages::read::<u64>(second), 0x1234);
    let third = pages::take();
    for (name, owner, errno) in [
        ("its owner's page as the own", DomId::SELF, Errno::EBUSY),
        ("in the own number", DomId(0), Errno::ESRCH),
        ("as nobody's", DomId(77), Errno::ESRCH),
        ("as a device's", DomId(0x7ff1), Errno::EBUSY),
        ("as the hypervisor's", DomId(0x7ff2), Errno::EBUSY),
        ("as a shared one", DomId(0x7ff3), Errno::ESRCH),
        ("of no domain", DomId(0x7ff4), Errno::ESRCH),
        ("of any domain", DomId(0x7fff), Errno::ESRCH),
    ] {
        same(
            format_args!("map {name}"),
            map(third, frame, mmu::KERNEL_RW, owner),
            failed(errno),
        );
    }
    same(
        "the own page as the other's",
        map(window, own, mmu::KERNEL_RW, domain.id),
        failed(Errno::EBUSY),
    );
    same(
        "no memory as the other's",
        map(window, 0xfed0_0000 >> 12, mmu::KERNEL_RW, domain.id),
        failed(Errno::EPERM),
    );
    bits(
        "a failed update changes nothing",
        pages::read::<u64>(window),
        0x1234,
    );
    // The list of privcmd: some of it is done, and the rest is told by the count.
    let entry = mmu::leaf(window).unwrap_or_default().machine_address;
    let request = |frame: u64| MmuUpdate {
        ptr: entry,
        val: frame << 12 | mmu::KERNEL_RW,
    };
    let list = [
        request(domain.frames[1]),
        request(frame),
        request(own),
        request(frame),
    ];
    same(
        "a list that fails in the third",
        mmu_update(&list, domain.id),
        (-(Errno::EBUSY as i64), 2),
    );
    let list = [3 | entry & !7].map(|ptr| MmuUpdate {
        ptr,
        val: frame << 12 | mmu::KERNEL_RW,
    });
    same("without translation", mmu_update(&list, domain.id), (0, 1));
    let list = [2 | entry & !7].map(|ptr| MmuUpdate {
        ptr,
        val: frame << 12 | mmu::KERNEL_RW,
    });
    same(
        "with accessed and dirty kept",
        mmu_update(&list, domain.id),
        (0, 1),
    );
    // The frame table can be changed for a page of the other's.
    let m2p = |value: u64| MmuUpdate {
        ptr: frame << 12 | 1,
        val: value,
    };
    same("frame table", mmu_update(&[m2p(0x777)], domain.id), (0, 1));
    bits("frame table: value", mmu::mfn_to_pfn(frame), 0x777);
    same(
        "frame table as the own",
        mmu_update(&[m2p(1)], DomId::SELF),
        failed(Errno::EINVAL),
    );
    same("frame table back", mmu_update(&[m2p(0)], domain.id), (0, 1));
    let unknown = [MmuUpdate {
        ptr: entry | 4,
        val: 0,
    }];
    same(
        "unknown command",
        mmu_update(&unknown, domain.id),
        failed(Errno::ENOSYS),
    );
    same("unmap", map(window, 0, 0, DomId::SELF), (0, 1));
    same(
        "unmap by the other's number",
        map(second, 0, 0, domain.id),
        (0, 1),
    );
}

/// Tables of the other domain are written through mappings first and pinned then: not while they can be written.
fn tables(domain: &Domain) {
    let window = pages::take();
    let [l1, l2, l3, l4] = [1, 2, 3, 4].map(|at| domain.frames[at]);
    for (table, value) in [
        (l1, domain.frames[0] << 12 | mmu::KERNEL_RW),
        (l2, l1 << 12 | mmu::KERNEL_RW),
        (l3, l2 << 12 | mmu::KERNEL_RW),
        (l4, l3 << 12 | mmu::KERNEL_RW),
    ] {
        same(
            "table to write",
            map(window, table, mmu::KERNEL_RW, domain.id),
            (0, 1),
        );
        pages::write(window, value);
    }
    let pin = |cmd: MmuextCmd, frame: u64| mmuext(&[mmu::frame_op(cmd, frame, 0)], domain.id);
    same(
        "pin of a table that is mapped writable",
        pin(MmuextCmd::PIN_L4_TABLE, l4),
        failed(Errno::EINVAL),
    );
    same("unmap the table", map(window, 0, 0, DomId::SELF), (0, 1));
    same(
        "pin as the own",
        mmuext(
            &[mmu::frame_op(MmuextCmd::PIN_L4_TABLE, l4, 0)],
            DomId::SELF,
        ),
        failed(Errno::EINVAL),
    );
    same("pin", pin(MmuextCmd::PIN_L4_TABLE, l4), (0, 1));
    same(
        "pin again",
        pin(MmuextCmd::PIN_L4_TABLE, l4),
        failed(Errno::EINVAL),
    );
    for table in [l1, l2, l3, l4] {
        same(
            "map a table for writing",
            map(window, table, mmu::KERNEL_RW, domain.id),
            failed(Errno::EBUSY),
        );
        same(
            "map a table for reading",
            map(window, table, mmu::KERNEL_RO, domain.id),
            (0, 1),
        );
    }
    same("unmap it", map(window, 0, 0, DomId::SELF), (0, 1));
    same(
        "clear a table",
        mmuext(&[mmu::frame_op(MmuextCmd::CLEAR_PAGE, l1, 0)], domain.id),
        failed(Errno::EINVAL),
    );
    same("unpin", pin(MmuextCmd::UNPIN_TABLE, l4), (0, 1));
    same(
        "unpin again",
        pin(MmuextCmd::UNPIN_TABLE, l4),
        failed(Errno::EINVAL),
    );
    same(
        "what was a table can be written",
        map(window, l1, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    same(
        "unmap what was a table",
        map(window, 0, 0, DomId::SELF),
        (0, 1),
    );
    same(
        "pin for the updates",
        pin(MmuextCmd::PIN_L4_TABLE, l4),
        (0, 1),
    );
}

fn by_address(domain: &Domain) {
    let window = pages::take();
    let frame = domain.frames[0];
    let update = |frame: u64, owner: u64| {
        call(
            HypercallNr::UPDATE_VA_MAPPING_OTHERDOMAIN,
            [window, frame << 12 | mmu::KERNEL_RW, 2, owner],
        )
    };
    number(
        "update_va_mapping_otherdomain",
        update(frame, domain.id.0.into()),
        0,
    );
    pages::write(window + 8, 7_u64);
    error(
        "update_va of the own number",
        update(frame, 0),
        Errno::ESRCH,
    );
    error("update_va of nobody", update(frame, 77), Errno::ESRCH);
    number(
        "update_va of what is there as the own",
        update(frame, 0x7ff0),
        0,
    );
    let other = domain.frames[8];
    error("update_va as the own", update(other, 0x7ff0), Errno::EBUSY);
    error(
        "update_va as a device's",
        update(other, 0x7ff1),
        Errno::EBUSY,
    );

    number(
        "update_va with a long number",
        update(frame, u64::from(domain.id.0) | 0x5_0000),
        0,
    );
    same("unmap by entry", map(window, 0, 0, DomId::SELF), (0, 1));
}

fn operations(domain: &Domain) {
    let window = pages::take();
    let frame = domain.frames[7];
    same(
        "page to clear",
        map(window, frame, mmu::KERNEL_RW, domain.id),
        (0, 1),
    );
    pages::write(window, u64::MAX);
    let op =
        |cmd: MmuextCmd, to: u64, from: u64| mmuext(&[mmu::frame_op(cmd, to, from)], domain.id);
    same("clear", op(MmuextCmd::CLEAR_PAGE, frame, 0), (0, 1));
    bits("cleared", pages::read::<u64>(window), 0);
    pages::write(window, 0x99_u64);
    same(
        "copy",
        op(MmuextCmd::COPY_PAGE, domain.frames[8], frame),
        (0, 1),
    );
    same(
        "the copy",
        map(window, domain.frames[8], mmu::KERNEL_RO, domain.id),
        (0, 1),
    );
    bits("copied", pages::read::<u64>(window), 0x99);
    let own = mmu::virt_to_mfn(pages::take());
    same(
        "copy of the own page",
        op(MmuextCmd::COPY_PAGE, frame, own),
        failed(Errno::EINVAL),
    );
    same(
        "clear of the own page",
        op(MmuextCmd::CLEAR_PAGE, own, 0),
        failed(Errno::EINVAL),
    );
    for (name, cmd) in [
        ("NEW_BASEPTR", MmuextCmd::NEW_BASEPTR),
        ("TLB_FLUSH_LOCAL", MmuextCmd::TLB_FLUSH_LOCAL),
        ("INVLPG_LOCAL", MmuextCmd::INVLPG_LOCAL),
        ("TLB_FLUSH_MULTI", MmuextCmd::TLB_FLUSH_MULTI),
        ("INVLPG_MULTI", MmuextCmd::INVLPG_MULTI),
        ("TLB_FLUSH_ALL", MmuextCmd::TLB_FLUSH_ALL),
        ("INVLPG_ALL", MmuextCmd::INVLPG_ALL),
        ("FLUSH_CACHE", MmuextCmd::FLUSH_CACHE),
        ("SET_LDT", MmuextCmd::SET_LDT),
        ("NEW_USER_BASEPTR", MmuextCmd::NEW_USER_BASEPTR),
        ("FLUSH_CACHE_GLOBAL", MmuextCmd::FLUSH_CACHE_GLOBAL),
    ] {
        same(
            format_args!("{name} of another"),
            op(cmd, 0, 0),
            failed(Errno::EPERM),
        );
    }
    for (name, cmd) in [
        ("MARK_SUPER", MmuextCmd::MARK_SUPER),
        ("UNMARK_SUPER", MmuextCmd::UNMARK_SUPER),
    ] {
        same(
            format_args!("{name} of another"),
            op(cmd, frame, 0),
            failed(Errno::EOPNOTSUPP),
        );
    }
    same(
        "unknown operation of another",
        op(MmuextCmd(14), 0, 0),
        failed(Errno::ENOSYS),
    );
    for (name, owner) in [("a device's", 0x7ff1), ("the hypervisor's", 0x7ff2)] {
        let op = |cmd: MmuextCmd| mmuext(&[mmu::frame_op(cmd, frame, 0)], DomId(owner));
        same(
            format_args!("clear as {name}"),
            op(MmuextCmd::CLEAR_PAGE),
            failed(Errno::EINVAL),
        );
        same(
            format_args!("pin as {name}"),
            op(MmuextCmd::PIN_L1_TABLE),
            failed(Errno::EINVAL),
        );
        same(
            format_args!("unpin as {name}"),
            op(MmuextCmd::UNPIN_TABLE),
            failed(Errno::EINVAL),
        );
        same(
            format_args!("flush as {name}"),
            op(MmuextCmd::TLB_FLUSH_ALL),
            failed(Errno::EPERM),
        );
        same(
            format_args!("mark as {name}"),
            op(MmuextCmd::MARK_SUPER),
            failed(Errno::EOPNOTSUPP),
        );
    }
    for (name, owner) in [("the own number", 0), ("nobody", 77)] {
        same(
            format_args!("clear of {name}"),
            mmuext(
                &[mmu::frame_op(MmuextCmd::CLEAR_PAGE, frame, 0)],
                DomId(owner),
            ),
            failed(Errno::ESRCH),
        );
    }
    let list = [mmu::frame_op(MmuextCmd::CLEAR_PAGE, frame, 0)];
    number(
        "mmuext_op with a long number",
        call(
            HypercallNr::MMUEXT_OP,
            [
                list.as_ptr() as u64,
                1,
                0,
                u64::from(domain.id.0) | 0x5_0000,
            ],
        ),
        0,
    );
    same("unmap the copy", map(window, 0, 0, DomId::SELF), (0, 1));
}

/// Entries of the other domain's own tables: its number plus one in the upper half.
fn foreign_tables(domain: &Domain) {
    let [l1, l2] = [1, 2].map(|at| domain.frames[at]);
    let update = |ptr: u64, val: u64, tables: u64, pages: u64| {
        let list = [MmuUpdate { ptr, val }];
        let mut done = 0x77u32;
        let result = call(
            HypercallNr::MMU_UPDATE,
            [
                list.as_ptr() as u64,
                1,
                (&raw mut done) as u64,
                tables << 16 | pages,
            ],
        );
        (result, done)
    };
    let theirs = u64::from(domain.id.0) + 1;
    let by = u64::from(domain.id.0);
    let entry = l1 << 12 | 8;
    let mine = mmu::virt_to_mfn(pages::take());
    same(
        "entry of the other's table",
        update(entry, domain.frames[0] << 12 | mmu::KERNEL_RW, theirs, by),
        (0, 1),
    );
    same(
        "the own page into the other's table",
        update(entry, mine << 12 | mmu::KERNEL_RW, theirs, 0x7ff0),
        (0, 1),
    );
    same(
        "the other's page as the own into its table",
        update(
            entry,
            domain.frames[0] << 12 | mmu::KERNEL_RW,
            theirs,
            0x7ff0,
        ),
        (0, 1),
    );
    same("out again", update(entry, 0, theirs, 0x7ff0), (0, 1));
    same(
        "an entry of the other's table without its number",
        update(entry, 0, 0, by),
        failed(Errno::EINVAL),
    );
    same(
        "entry of a higher table",
        update(l2 << 12 | 8, 0, theirs, by),
        (0, 1),
    );
    same(
        "entry of a higher table for the own pages",
        update(l2 << 12 | 8, 0, theirs, 0x7ff0),
        failed(Errno::EINVAL),
    );
    same(
        "word of a page that is no table",
        update(domain.frames[9] << 12 | 16, 0x4242, theirs, by),
        (0, 1),
    );
    same(
        "tables of nobody",
        update(entry, 0, 78, by),
        (-(Errno::ESRCH as i64), 0x77),
    );
    same(
        "pages of nobody",
        update(entry, 0, theirs, 77),
        failed(Errno::ESRCH),
    );
    same(
        "pages of the own number",
        update(entry, 0, 0, 0),
        failed(Errno::ESRCH),
    );

    same(
        "tables of the own number",
        update(entry, 0, 1, by),
        failed(Errno::EINVAL),
    );
    same(
        "frame table for another",
        update(domain.frames[0] << 12 | 1, 0, theirs, by),
        failed(Errno::EPERM),
    );
    let none = call(HypercallNr::MMU_UPDATE, [0, 0, 0, 77]);
    error("no update for nobody", none, Errno::ESRCH);
    same(
        "unpin at the end",
        mmuext(
            &[mmu::frame_op(MmuextCmd::UNPIN_TABLE, domain.frames[4], 0)],
            domain.id,
        ),
        (0, 1),
    );
}
