//! Guests built in a fake hypervisor: what lies where, and what is refused.

use std::io::Write as _;

use hypercall_abi::arch_x86::VcpuGuestContext;
use hypercall_abi::xen::{DomId, StartInfo};
use zerocopy::FromBytes as _;

use super::*;
use crate::xen::fake::{FakeDomain, FakeXen};
use crate::xen::{PAGE, Xen};

const VIRT_BASE: u64 = 0xffff_ffff_8000_0000;
const INIT_P2M: u64 = 0x80_0000_0000;
const LOAD_AT: u64 = 0x10_0000;
const MIB: u64 = 1 << 20;

fn note(kind: u32, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend((value.len() as u32).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(b"Xen\0");
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An ELF kernel of one segment, `code` and as many zeros again, with the notes of a Linux, or without those of the P2M.
fn kernel(code: &[u8], p2m_outside: bool) -> Vec<u8> {
    let mut notes = [
        note(5, b"xen-3.0\0"),
        note(8, b"generic\0"),
        note(6, b"linux\0"),
        note(3, &VIRT_BASE.to_le_bytes()),
        note(1, &(VIRT_BASE + LOAD_AT).to_le_bytes()),
        note(4, &0_u64.to_le_bytes()),
        note(2, &(VIRT_BASE + LOAD_AT + PAGE).to_le_bytes()),
    ]
    .concat();
    if p2m_outside {
        notes.extend(note(15, &INIT_P2M.to_le_bytes()));
        notes.extend(note(16, &1_u32.to_le_bytes()));
    }
    let notes_at = 64 + 2 * 56;
    let code_at = (notes_at + notes.len()).next_multiple_of(16);
    let mut file = vec![0; code_at];
    file[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0");
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(20, &1_u32.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(52, &64_u16.to_le_bytes());
    put(54, &56_u16.to_le_bytes());
    put(56, &2_u16.to_le_bytes());
    let mut segment = |index: usize, kind: u32, at: u64, address: u64, len: u64, memory: u64| {
        let header = 64 + index * 56;
        put(header, &kind.to_le_bytes());
        put(header + 4, &7_u32.to_le_bytes());
        put(header + 8, &at.to_le_bytes());
        put(header + 16, &(VIRT_BASE + address).to_le_bytes());
        put(header + 24, &address.to_le_bytes());
        put(header + 32, &len.to_le_bytes());
        put(header + 40, &memory.to_le_bytes());
    };
    let len = code.len() as u64;
    segment(0, 1, code_at as u64, LOAD_AT, len, 2 * len);
    segment(1, 4, notes_at as u64, 0, notes.len() as u64, 0);
    put(notes_at, &notes);
    file.extend(code);
    file
}

fn temporary(contents: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(contents).unwrap();
    file
}

fn path(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Builds domain 1 with `mib` MiB.
fn build_in(
    xen: &FakeXen,
    image: &[u8],
    ramdisk: Option<&[u8]>,
    mib: u64,
) -> Result<Built, BuildError> {
    let image = temporary(image);
    let ramdisk = ramdisk.map(temporary);
    let kernel = KernelFile::open(path(&image), None)?;
    build(
        xen,
        &Request {
            domain: DomId(1),
            backend: DomId(0),
            kernel: &kernel,
            ramdisk: ramdisk.as_ref().map(path),
            cmdline: "console=hvc0",
            pages: mib * 256,
            store_port: 1,
            console_port: 2,
        },
    )
}

/// What a guest's address maps: the machine frame and whether it may be written.
fn walk(xen: &FakeXen, l4: u64, address: u64) -> Option<(u64, bool)> {
    let mut table = l4;
    for shift in [39, 30, 21, 12] {
        let entry = xen.word(table, (address >> shift & 511) as usize);
        if entry & 1 == 0 {
            return None;
        }
        table = entry >> 12 & 0xff_ffff_ffff;
        if shift == 12 {
            return Some((table, entry & 2 != 0));
        }
    }
    None
}

fn read(xen: &FakeXen, l4: u64, address: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|index| {
            let at = address + index;
            let (mfn, _) = walk(xen, l4, at).unwrap();
            xen.frame(mfn)[(at % PAGE) as usize]
        })
        .collect()
}

struct Guest {
    domain: FakeDomain,
    context: VcpuGuestContext,
    info: StartInfo,
    l4: u64,
}

fn guest(xen: &FakeXen) -> Guest {
    let domain = xen.state().domains[&1].clone();
    let context = VcpuGuestContext::read_from_bytes(&domain.context).unwrap();
    let l4 = context.ctrlreg[3] >> 12;
    let info = read(xen, l4, context.user_regs.rsi, size_of::<StartInfo>());
    Guest {
        info: StartInfo::read_from_bytes(&info).unwrap(),
        domain,
        context,
        l4,
    }
}

#[test]
fn a_guest_finds_everything_where_the_contract_says() {
    let code: Vec<u8> = (0..20_000_u32).map(|index| index as u8 | 1).collect();
    let ramdisk = vec![0x77; 10_000];
    let xen = FakeXen::new(1 << 20);
    let built = build_in(&xen, &kernel(&code, true), Some(&ramdisk), 16).unwrap();
    let Guest {
        domain,
        context,
        info,
        l4,
    } = guest(&xen);

    assert_eq!(domain.pinned, Some(l4));
    assert_eq!(domain.claimed, 0, "what is left of the claim goes back");
    assert_eq!(context.user_regs.rip, VIRT_BASE + LOAD_AT);
    assert_eq!(context.user_regs.cs, 0xe033);
    assert_eq!(context.flags, 4 | 32);
    assert_eq!(info.magic[..15], *b"xen-3.0-x86_64\0");
    assert_eq!(info.nr_pages, 4096);
    assert_eq!(info.flags, 0x18);
    assert_eq!(info.shared_info, domain.shared_info * PAGE);
    assert_eq!(info.cmd_line[..13], *b"console=hvc0\0");
    assert_eq!((info.store_mfn, info.store_evtchn), (built.store_mfn, 1));
    let console = info.console.as_domU();
    assert_eq!((console.mfn, console.evtchn), (built.console_mfn, 2));

    // The image, zeros behind it, and the hypercall page in it.
    let mut image = read(&xen, l4, VIRT_BASE + LOAD_AT, 2 * code.len());
    assert_eq!(image[PAGE as usize], 0x51);
    image[PAGE as usize] = code[PAGE as usize];
    assert_eq!(image[..code.len()], code);
    assert!(image[code.len()..].iter().all(|byte| *byte == 0));

    // start_info, the rings, the tables, the stack follow each other; the rings are empty.
    let start_info = context.user_regs.rsi;
    let ring = |index: u64| walk(&xen, l4, start_info + index * PAGE).unwrap().0;
    assert_eq!((ring(1), ring(2)), (built.store_mfn, built.console_mfn));
    assert!(xen.frame(built.store_mfn).iter().all(|byte| *byte == 0));
    assert!(xen.frame(built.console_mfn).iter().all(|byte| *byte == 0));
    assert_eq!(info.pt_base, start_info + 3 * PAGE);
    let stack = info.pt_base + (info.nr_pt_frames + 1) * PAGE;
    assert_eq!(context.user_regs.rsp, stack);

    // Every page of the mapping is the one that the P2M says, and tables are read-only.
    let end = (stack + (512 << 10)).next_multiple_of(4 * MIB);
    for pfn in 0..(end - VIRT_BASE) / PAGE {
        let address = VIRT_BASE + pfn * PAGE;
        let is_table = (info.pt_base..info.pt_base + info.nr_pt_frames * PAGE).contains(&address);
        assert_eq!(
            walk(&xen, l4, address),
            Some((domain.p2m[&pfn], !is_table)),
            "{address:#x}"
        );
    }
    assert_eq!(walk(&xen, l4, end), None);

    // The ramdisk by its frame, in whole pages.
    assert_eq!(info.mod_len, 3 * PAGE);
    let mut loaded = Vec::new();
    for pfn in info.mod_start..info.mod_start + 3 {
        loaded.extend(xen.frame(domain.p2m[&pfn]));
    }
    assert_eq!(loaded[..ramdisk.len()], ramdisk);
    assert!(loaded[ramdisk.len()..].iter().all(|byte| *byte == 0));

    // The P2M outside the mapping, and its run of frames behind the ramdisk.
    assert_eq!(info.mfn_list, INIT_P2M);
    assert_eq!(info.first_p2m_pfn, info.mod_start + 3);
    assert_eq!(info.nr_p2m_frames, 8 + 3);
    let list = read(&xen, l4, INIT_P2M, 4096 * 8);
    for (pfn, entry) in list.as_chunks::<8>().0.iter().enumerate() {
        assert_eq!(u64::from_le_bytes(*entry), domain.p2m[&(pfn as u64)]);
    }

    // The shared page is empty but for the masks, and the rings are granted to dom0.
    let shared = xen.frame(domain.shared_info);
    for vcpu in 0..32 {
        assert_eq!(shared[vcpu * 64..vcpu * 64 + 8], [0, 1, 0, 0, 0, 0, 0, 0]);
    }
    assert!(shared[32 * 64..].iter().all(|byte| *byte == 0));
    let grants = xen.frame(domain.grants);
    for (index, mfn) in [(0, built.console_mfn), (1, built.store_mfn)] {
        let entry = &grants[index * 8..index * 8 + 8];
        assert_eq!(entry[..4], [1, 0, 0, 0]);
        assert_eq!(
            u64::from(u32::from_le_bytes(entry[4..].try_into().unwrap())),
            mfn
        );
    }
}

#[test]
fn an_older_kernel_has_its_p2m_and_ramdisk_in_the_mapping() {
    let xen = FakeXen::new(1 << 20);
    build_in(&xen, &kernel(&[0x90; 9000], false), Some(&[0x55; 5000]), 16).unwrap();
    let Guest {
        info, l4, domain, ..
    } = guest(&xen);
    assert_eq!(info.flags, 0x10);
    assert_eq!(info.mod_start, VIRT_BASE + LOAD_AT + 5 * PAGE);
    assert_eq!(read(&xen, l4, info.mod_start, 5000), [0x55; 5000]);
    assert_eq!(info.mfn_list, info.mod_start + 2 * PAGE);
    let entry = read(&xen, l4, info.mfn_list + 100 * 8, 8);
    assert_eq!(
        u64::from_le_bytes(entry.try_into().unwrap()),
        domain.p2m[&100]
    );
    assert_eq!((info.first_p2m_pfn, info.nr_p2m_frames), (0, 0));
}

#[test]
fn single_pages_serve_where_no_large_extents_are_left() {
    let xen = FakeXen::new(1 << 20);
    xen.state().large = false;
    build_in(&xen, &kernel(&[0x90; 5000], true), None, 8).unwrap();
    assert_eq!(guest(&xen).domain.p2m.len(), 2048);
}

#[test]
fn refusals_name_the_cause_and_the_way_out() {
    let good = kernel(&[0x90; 5000], true);
    let refusal = |image: &[u8], ramdisk: Option<&[u8]>, mib, free| {
        let xen = FakeXen::new(free);
        let error = build_in(&xen, image, ramdisk, mib).unwrap_err().to_string();
        // The name of the temporary file is no part of the message to compare.
        match error.split_once(" cannot be started: ") {
            Some((_, error)) => error.to_owned(),
            None => error,
        }
    };
    assert_eq!(
        refusal(&good, None, 16, 100),
        "the hypervisor ran out of free memory, 16 MiB were missing"
    );
    assert_eq!(
        refusal(&good, Some(&[0; 5 << 20]), 8, 1 << 20),
        "memory = 8 is too little for this kernel and ramdisk: at least 10 MiB are needed"
    );
    assert_eq!(
        refusal(b"#!/bin/sh\n", None, 8, 1 << 20),
        "the kernel is not a kernel: neither a bzImage nor (compressed) ELF"
    );
    let mut arm = good.clone();
    arm[18] = 183;
    assert_eq!(
        refusal(&arm, None, 8, 1 << 20),
        "the kernel is for another architecture (ELF machine 183, x86-64 is 62)"
    );
    let missing = KernelFile::open("/nonexistent/vmlinuz", None).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "kernel /nonexistent/vmlinuz does not exist: correct kernel = in the configuration"
    );
}

#[test]
fn compressed_kernels_are_unpacked_once() {
    use std::io::Read as _;
    let plain = kernel(&[0x90; 5000], true);
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().join("kernels"));
    let mut packed = Vec::new();
    bzip2::read::BzEncoder::new(&plain[..], bzip2::Compression::best())
        .read_to_end(&mut packed)
        .unwrap();
    let file = temporary(&packed);
    let metadata = file.as_file().metadata().unwrap();
    assert!(cache.find(&metadata).is_none());
    let first = KernelFile::open(path(&file), Some(&cache)).unwrap();
    let kept = cache.find(&metadata).expect("it is kept");
    assert_eq!(kept.bytes(), plain);
    let second = KernelFile::open(path(&file), Some(&cache)).unwrap();
    assert_eq!(first.parse().unwrap(), second.parse().unwrap());

    // A copy shares what was unpacked; a changed file does not find it.
    let copy = temporary(&packed);
    KernelFile::open(path(&copy), Some(&cache)).unwrap();
    let elfs = std::fs::read_dir(folder.path().join("kernels")).unwrap();
    let elfs = elfs.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|extension| extension == "elf")
    });
    assert_eq!(elfs.count(), 1);
    file.as_file().set_len(100).unwrap();
    assert!(cache.find(&file.as_file().metadata().unwrap()).is_none());
    assert!(KernelFile::open(path(&file), Some(&cache)).is_err());
}

#[test]
fn the_fake_is_a_hypervisor_like_any_other() {
    let xen = FakeXen::new(10);
    let xen: &dyn Xen = &*xen;
    assert_eq!(xen.physinfo().unwrap().free_pages, 10);
    assert!(xen.domain_info(DomId(7)).unwrap().is_none());
}
