//! What cannot work must say so in one clear line, then reset or halt as told; never hang or triple-fault.
//!
//! The patterns accept Xen's words beside ours.

use crate::elf::{Executable, Machine};
use crate::pv_kernel::PvKernel;
use crate::scenario::{End, Kernel, Scenario, hello};

/// Half of the kernel's file.
fn truncated(mut kernel: Vec<u8>) -> Vec<u8> {
    kernel.truncate(kernel.len() / 2);
    kernel
}

/// The compressed part is noise.
fn corrupt(mut kernel: Vec<u8>) -> Vec<u8> {
    let start = kernel.len() / 3;
    let end = kernel.len() / 2;
    for (index, byte) in kernel[start..end].iter_mut().enumerate() {
        *byte ^= (index as u8).wrapping_mul(151) | 1;
    }
    kernel
}

/// Not a kernel at all.
fn rubbish() -> Vec<u8> {
    (0..65536_u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A file of no bytes is refused by loaders, so this one has a single one.
fn one_byte() -> Vec<u8> {
    vec![0x7f]
}

fn foreign() -> Vec<u8> {
    PvKernel {
        machine: Machine::Aarch64,
        ..PvKernel::default()
    }
    .file()
}

fn without_notes() -> Vec<u8> {
    PvKernel {
        notes: false,
        ..PvKernel::default()
    }
    .file()
}

/// It wants more memory than the machine has.
fn enormous() -> Vec<u8> {
    PvKernel {
        bss: 0x3000_0000,
        ..PvKernel::default()
    }
    .file()
}

/// Its segment table lies outside the file.
fn cut_elf() -> Vec<u8> {
    let mut file = hello();
    file.truncate(100);
    file
}

/// A program for this machine, but not a kernel for it.
fn low_program() -> Vec<u8> {
    let image = vec![0xf4; 64];
    let at = 0x40_0000;
    Executable {
        machine: Machine::I386,
        vaddr: at,
        paddr: at,
        entry: at,
        image,
        bss: 0,
        notes: Vec::new(),
    }
    .file()
}

const LITTLE_MEMORY: &str =
    "(?i)too (small|large|big|little)|not enough (memory|RAM)|out of memory";

/// Options that cannot be obeyed are named; the boot goes on.
fn options() -> Vec<Scenario> {
    let named = |name, about, options, complaint: &str| {
        let scenario = Scenario::kernel(name, about, Kernel::Made(hello)).append(options);
        scenario
            .expect(complaint)
            .expect("Hello from a small PV kernel")
    };
    vec![
        named(
            "bad-option-value",
            "an option with a bad value is named",
            "dom0_mem=plenty",
            "(?i)dom0_mem.*(invalid|bad|wrong)|(invalid|bad|wrong).*dom0_mem",
        )
        .not_on_xen("the parser takes the 0 before the first letter it does not know"),
        named(
            "bad-option-number",
            "an option whose number is none is named",
            "maxcpus=many",
            "(?i)maxcpus.*(invalid|bad|wrong)|(invalid|bad|wrong).*maxcpus",
        )
        .not_on_xen("it complains before the serial line works"),
        named(
            "bad-option",
            "an unknown option is named and ignored",
            "frobnicate=yes",
            "(?i)frobnicate.*unknown|unknown.*frobnicate",
        )
        .not_on_xen("it ignores unknown options without a word"),
    ]
}

/// The scenarios of this subject.
pub fn scenarios() -> Vec<Scenario> {
    let refused = |name, about, kernel, cause: &str| {
        Scenario::kernel(name, about, kernel)
            .tolerate("Panic on CPU")
            .expect(cause)
            .end(End::Reset)
    };
    let trusts_size = "it takes the last word of any file for its unpacked size";
    let mut list = vec![
        refused(
            "bad-truncated",
            "a truncated kernel",
            Kernel::Altered(truncated),
            "(?i)truncated",
        )
        .not_on_xen("it reads past the end of a truncated file and faults"),
        refused(
            "bad-corrupt",
            "a kernel whose payload is damaged",
            Kernel::Altered(corrupt),
            "(?i)corrupt|damaged",
        ),
        refused(
            "bad-rubbish",
            "a file that is no kernel",
            Kernel::Made(rubbish),
            "(?i)not an? (elf|.*kernel)|neither|no known",
        )
        .not_on_xen(trusts_size),
        refused(
            "bad-one-byte",
            "a file of one byte",
            Kernel::Made(one_byte),
            "(?i)not an? (elf|.*kernel)|neither|no known|truncated",
        )
        .not_on_xen(trusts_size),
        refused(
            "bad-cut-elf",
            "an ELF file whose headers are cut off",
            Kernel::Made(cut_elf),
            "(?i)truncated|phdr overflow",
        ),
        refused(
            "bad-architecture",
            "a kernel for another architecture",
            Kernel::Made(foreign),
            "(?i)Mismatch between Xen and DOM0|architecture|not (for )?x86",
        ),
        refused(
            "bad-program",
            "a 32-bit program",
            Kernel::Made(low_program),
            "(?i)no (elf|xen).*notes|32-bit (kernel|ELF)|architecture|not (for )?x86",
        ),
        refused(
            "bad-no-notes",
            "an ELF file without Xen's notes",
            Kernel::Made(without_notes),
            "(?i)(no|without|lacks) .*notes",
        ),
        refused(
            "bad-missing",
            "no kernel at all",
            Kernel::Missing,
            "(?i)kernel not specified|no (dom0 |first )?(kernel|module)",
        ),
        refused(
            "bad-too-large",
            "a kernel larger than memory",
            Kernel::Made(enormous),
            LITTLE_MEMORY,
        ),
        Scenario::kernel(
            "bad-noreboot",
            "with noreboot a refusal halts",
            Kernel::Made(without_notes),
        )
        .append("noreboot")
        .tolerate("Panic on CPU")
        .expect("(?i)(no|without|lacks) .*notes")
        .stays_on(),
        Scenario::linux(
            "bad-little-memory",
            "Linux on a machine with too little memory",
        )
        .memory("64M")
        .tolerate("Panic on CPU")
        .expect(LITTLE_MEMORY)
        .end(End::Reset),
        Scenario::linux(
            "bad-initrd-memory",
            "dom0 is given less memory than its initramfs and kernel take",
        )
        .append("dom0_mem=24M")
        .tolerate("Panic on CPU")
        .expect(LITTLE_MEMORY)
        .end(End::Reset),
    ];
    list.extend(options());
    list
}
