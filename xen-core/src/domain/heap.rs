//! Frames for the hypervisor's heap. It starts small; frames that it takes stay with it.
//!
//! It grows only between operations, where no lock is held: an allocation in the middle of one lives on the reserve that
//! [`HeapMemory::heap_is_low`](crate::machine::HeapMemory::heap_is_low) keeps.

use hypercall_abi::errno::Errno;

use crate::hypervisor::Hypervisor;
use crate::machine::Machine;
use crate::mm::AllocOptions;

/// The heap grows by 2 MiB, by less when memory is fragmented.
const LARGEST_ORDER: u32 = 9;

impl<M: Machine> Hypervisor<M> {
    /// Lets the heap grow if it is low. Called with no lock held.
    pub fn feed_heap(&self) {
        if !self.machine.heap_is_low() {
            return;
        }
        let taken = (0..=LARGEST_ORDER).rev().find_map(|order| {
            let options = AllocOptions::default();
            let start = self.mem.allocate_detached(&self.machine, order, options)?;
            Some((start, order))
        });
        if let Some((start, order)) = taken {
            self.machine.extend_heap(start, order);
        }
    }

    /// For operations that make the hypervisor keep more, at a guest's wish: there is memory for it.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn check_heap(&self) -> Result<(), Errno> {
        self.feed_heap();
        if self.machine.heap_is_low() {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use hypercall_abi::errno::Errno;

    use crate::sim::world;

    #[test]
    fn the_heap_takes_free_memory_while_it_is_low() {
        let hv = world();
        let free = hv.mem.free_pages();
        assert_eq!(hv.check_heap(), Ok(()));
        assert_eq!(hv.mem.free_pages(), free);
        // Low once: 2 MiB make it good.
        hv.machine.starve_heap(1);
        assert_eq!(hv.check_heap(), Ok(()));
        assert_eq!(hv.mem.free_pages(), free - 512);
        // What is left comes in smaller pieces, and when there is none the operation is refused.
        hv.machine.starve_heap(u64::MAX);
        while hv.mem.free_pages() != 0 {
            assert_eq!(hv.check_heap(), Err(Errno::ENOMEM));
        }
        assert_eq!(hv.check_heap(), Err(Errno::ENOMEM));
    }
}
