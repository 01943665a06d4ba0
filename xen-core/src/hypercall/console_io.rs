//! `console_io`: the hypervisor's console line, for the domain that owns it (public header xen.h, CONSOLEIO_*).

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::xen::ConsoleIoCmd;

use super::Call;
use crate::guest::GuestAccess;
use crate::machine::Machine;
use crate::outcome::{HypercallResult, Outcome};

/// Bytes copied between two looks at more urgent work.
const CHUNK: usize = 128;

impl<M: Machine> Call<'_, M> {
    pub(super) fn console_io(
        &mut self,
        cmd: u32,
        count: u32,
        buffer: GuestHandle<u8>,
    ) -> HypercallResult {
        if !self.domain.privileges.control && !self.domain.privileges.hardware {
            return Err(Errno::EPERM.into());
        }
        match ConsoleIoCmd(cmd) {
            ConsoleIoCmd::WRITE => self.console_write(count, buffer),
            ConsoleIoCmd::READ => self.console_read(count, buffer),
            _ => Err(Errno::ENOSYS.into()),
        }
    }

    fn console_write(&mut self, count: u32, buffer: GuestHandle<u8>) -> HypercallResult {
        let machine = &self.hv.machine;
        let line = |bytes: &[u8]| machine.write_console(bytes);
        let (mut addr, mut left) = (buffer.addr(), count);
        while left > 0 {
            if left != count && machine.must_yield() {
                let cmd = u64::from(ConsoleIoCmd::WRITE.0);
                return Ok(Outcome::Again([cmd, left.into(), addr, 0, 0, 0]));
            }
            let mut chunk = [0u8; CHUNK];
            let size = chunk.len().min(left as usize);
            let bytes = &mut chunk[..size];
            machine.read_bytes(addr, bytes)?;
            if self.domain.privileges.hardware {
                self.hv.console.write_raw(&line, bytes);
            } else {
                let now_ns = machine.now_ns();
                self.hv
                    .console
                    .write_guest_text(&line, now_ns, self.domain.id, bytes);
            }
            addr = addr.wrapping_add(size as u64);
            left = left.saturating_sub(size as u32);
        }
        Ok(Outcome::Done(0))
    }

    fn console_read(&mut self, count: u32, buffer: GuestHandle<u8>) -> HypercallResult {
        // ABI: the count comes back in the same register as an error would.
        if i32::try_from(count).is_err() {
            return Err(Errno::E2BIG.into());
        }
        let bytes = self.hv.console.take_input(count as usize);
        if let Err(errno) = self.hv.machine.write_bytes(buffer.addr(), &bytes) {
            self.hv.console.put_back_input(&bytes);
            return Err(errno.into());
        }
        Ok(Outcome::Done(bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests;
