//! Loop devices: files as block devices.
//!
//! Contract: `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` of linux/loop.h (Linux 5.8 and later).
#![expect(unsafe_code, reason = "ioctls")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::ioctl::{ioctl, ioctl_number};
use super::process::device_numbers;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const LOOP_CTL_GET_FREE: u64 = 0x4c82;
const LOOP_CONFIGURE: u64 = 0x4c0a;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// A loop device of a file. The kernel frees it when nobody has it open any more.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    file: File,
}

impl LoopDevice {
    /// Attaches `target` to a free loop device: with direct I/O where the file system can, so that pages are not cached twice.
    ///
    /// # Errors
    /// There are no loop devices, or the file cannot be opened.
    pub fn attach(target: &Path, writable: bool) -> io::Result<Self> {
        let backing = OpenOptions::new().read(true).write(writable).open(target)?;
        let control = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/loop-control")?;
        loop {
            // SAFETY: the request takes no argument.
            let number = unsafe { ioctl_number(control.as_fd(), LOOP_CTL_GET_FREE, 0) }?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let file = OpenOptions::new().read(true).write(writable).open(&path)?;
            match configure(&file, &backing, target, writable) {
                Ok(()) => return Ok(Self { path, file }),
                // Somebody else was faster.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The device.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its major and minor number.
    #[must_use]
    pub fn numbers(&self) -> (u32, u32) {
        let metadata = self.file.metadata();
        metadata.map_or((0, 0), |metadata| device_numbers(metadata.rdev()))
    }
}

fn configure(device: &File, backing: &File, target: &Path, writable: bool) -> io::Result<()> {
    let mut info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        sizelimit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: AUTOCLEAR | DIRECT_IO | if writable { 0 } else { READ_ONLY },
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let name = target.as_os_str().as_encoded_bytes();
    // For `losetup`; the last byte stays NUL.
    for (to, from) in info.file_name.iter_mut().take(63).zip(name) {
        *to = *from;
    }
    let mut attempt = |flags: u32| {
        info.flags = flags;
        let mut config = LoopConfig {
            fd: backing.as_raw_fd().cast_unsigned(),
            block_size: 0,
            info,
            reserved: [0; 8],
        };
        // SAFETY: the request takes this struct, in which nothing is an address.
        unsafe { ioctl(device.as_fd(), LOOP_CONFIGURE, &mut config) }.map(|_| ())
    };
    let wanted = AUTOCLEAR | DIRECT_IO | if writable { 0 } else { READ_ONLY };
    match attempt(wanted) {
        // A file system without direct I/O, such as a RAM disk's.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => attempt(wanted & !DIRECT_IO),
        result => result,
    }
}
