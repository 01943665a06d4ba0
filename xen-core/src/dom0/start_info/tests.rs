//! The page's bytes at the offsets of public/xen.h.

use super::*;
use crate::dom0::elf::tests::{debian_kernel, plain_kernel};
use crate::dom0::plan::tests::plan;

fn info(cmdline: &[u8]) -> BootInfo<'_> {
    BootInfo {
        shared_info: 0x1234_5000,
        cmdline,
        console: None,
        pm_bits: 0,
    }
}

fn word(page: &[u8; 4096], offset: usize) -> u64 {
    u64::from_le_bytes(page[offset..offset + 8].try_into().unwrap())
}

fn encoded(plan: &Plan, info: &BootInfo<'_>) -> [u8; 4096] {
    let mut page = [0xa5; 4096];
    encode(plan, info, &mut page).unwrap();
    page
}

#[test]
fn debians_page() {
    let image = debian_kernel();
    let plan = plan(&image, 0x2_0000, 31 << 20).unwrap();
    let page = encoded(
        &plan,
        &BootInfo {
            pm_bits: 0x5,
            ..info(b"console=hvc0 root=/dev/ram0")
        },
    );
    assert_eq!(
        &page[..32],
        b"xen-3.0-x86_64p\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    );
    assert_eq!(word(&page, 32), 0x2_0000);
    assert_eq!(word(&page, 40), 0x1234_5000);
    assert_eq!(
        word(&page, 48),
        0x50b,
        "privileged, initial, initrd by PFN, PM bits"
    );
    assert_eq!(page[56..88], [0; 32], "no store, no console");
    assert_eq!(word(&page, 88), 0xffff_ffff_84a0_1000);
    assert_eq!(word(&page, 96), 41);
    assert_eq!(word(&page, 104), 0x80_0000_0000);
    assert_eq!((word(&page, 112), word(&page, 120)), (0x4c00, 31 << 20));
    assert!(page[128..].starts_with(b"console=hvc0 root=/dev/ram0\0"));
    assert_eq!(
        (word(&page, 1152), word(&page, 1160)),
        (0x4c00 + 31 * 256, 259)
    );
    assert_eq!(page[1168..], [0; 4096 - 1168]);
}

#[test]
fn older_kernels_get_addresses() {
    let image = plain_kernel();
    let plan_with = plan(&image, 16384, 5000).unwrap();
    let page = encoded(&plan_with, &info(b""));
    assert!(page.starts_with(b"xen-3.0-x86_64\0"));
    assert_eq!(word(&page, 48), 3);
    assert_eq!((word(&page, 112), word(&page, 120)), (0x10_5000, 5000));
    assert_eq!(word(&page, 104), 0x10_7000);
    assert_eq!(
        (word(&page, 1152), word(&page, 1160)),
        (plan_with.pages_needed, 0)
    );

    let plan_without = plan(&image, 16384, 0).unwrap();
    let page = encoded(&plan_without, &info(b""));
    assert_eq!(
        (word(&page, 48), word(&page, 112), word(&page, 120)),
        (3, 0, 0)
    );
}

#[test]
fn the_console_follows_in_the_page() {
    let image = debian_kernel();
    let plan = plan(&image, 0x2_0000, 0).unwrap();
    let console = Dom0VgaConsoleInfo::new_zeroed();
    let mut console = console;
    console.as_mut_bytes().fill(0x77);
    let page = encoded(
        &plan,
        &BootInfo {
            console: Some(&console),
            ..info(b"")
        },
    );
    assert_eq!(word(&page, 72), 40 << 32 | 1168);
    assert_eq!(page[1168..1208], [0x77; 40]);
    assert_eq!(page[1208..], [0; 4096 - 1208]);
}

#[test]
fn a_command_line_keeps_its_nul() {
    let image = debian_kernel();
    let plan = plan(&image, 0x2_0000, 0).unwrap();
    let page = encoded(&plan, &info(&[b'x'; 1023]));
    assert_eq!((page[128 + 1022], page[128 + 1023]), (b'x', 0));
    assert_eq!(
        start_info(&plan, &info(&[b'x'; 1024])),
        Err(KernelError::CommandLineTooLong(1024))
    );
}
