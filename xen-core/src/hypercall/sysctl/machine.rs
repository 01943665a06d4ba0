//! The machine's processors and memory.

use hypercall_abi::errno::Errno;
use hypercall_abi::guest_handle::GuestHandle;
use hypercall_abi::sysctl::{
    INVALID_CORE_ID, INVALID_NODE_ID, INVALID_SOCKET_ID, Physcap, SysctlAvailheap, SysctlCpuinfo,
    SysctlCputopo, SysctlCputopoinfo, SysctlGetcpuinfo, SysctlMeminfo, SysctlNumainfo,
    SysctlPhysinfo,
};

use super::Call;
use crate::boot::e820;
use crate::boot::modules::PhysRange;
use crate::cpu_policy::ApicIdFields;
use crate::guest::GuestAccess;
use crate::machine::{CpuMask, Machine};
use crate::num::{CpuId, Mfn, PAGE_SHIFT};

/// All nodes, in `availheap`.
const ALL_NODES: i32 = -1;

impl<M: Machine> Call<'_, M> {
    /// Processors that can be named: one more than the highest number.
    pub(in crate::hypercall) fn nr_cpus(&self) -> u32 {
        let machine = &self.hv.machine;
        let highest = (0..CpuMask::CAPACITY)
            .rev()
            .find(|&cpu| machine.apic_id(CpuId(cpu)).is_some());
        highest.map_or(1, |cpu| cpu + 1)
    }

    /// Frames of RAM that the machine has.
    fn ram_pages(&self) -> u64 {
        let ram = self
            .hv
            .e820
            .iter()
            .filter(|entry| entry.kind == e820::Kind::RAM.0);
        ram.fold(0, |sum: u64, entry| {
            sum.saturating_add(entry.size >> PAGE_SHIFT)
        })
    }

    /// Core and socket of a processor that takes part.
    fn place(&self, fields: ApicIdFields, cpu: u32) -> Option<(u32, u32)> {
        let machine = &self.hv.machine;
        if cpu >= CpuMask::CAPACITY || !machine.online().contains(CpuId(cpu)) {
            return None;
        }
        machine.apic_id(CpuId(cpu)).map(|id| fields.place(id))
    }

    pub(super) fn physinfo(&self) -> SysctlPhysinfo {
        let hv = self.hv;
        let fields = ApicIdFields::of(&hv.policies.raw);
        let nr_cpus = self.nr_cpus();
        let first = self.place(fields, 0);
        let places = || (0..nr_cpus).filter_map(|cpu| self.place(fields, cpu));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        let threads = count(places().filter(|&place| Some(place) == first).count());
        let in_socket = places()
            .filter(|place| Some(place.1) == first.map(|first| first.1))
            .count();
        let mut hw_cap = [0; 8];
        let features = hv.policies.host.feature_set();
        for (to, word) in hw_cap.iter_mut().zip(features.0) {
            *to = word;
        }
        SysctlPhysinfo {
            threads_per_core: threads,
            cores_per_socket: (count(in_socket) / threads).max(1),
            nr_cpus: count(places().count()),
            max_cpu_id: nr_cpus - 1,
            nr_nodes: hv.firmware.numa.nodes(),
            max_node_id: hv.firmware.numa.nodes() - 1,
            cpu_khz: u32::try_from(hv.machine.tsc_khz()).unwrap_or(u32::MAX),
            capabilities: physical_capabilities(hv.machine.hvm_support().available),
            arch_capabilities: 0,
            pad: 0,
            total_pages: self.ram_pages(),
            free_pages: hv.mem.free_pages(),
            scrub_pages: 0,
            outstanding_pages: hv.mem.claimed_pages(),
            max_mfn: hv.mem.max_page().saturating_sub(1),
            hw_cap,
        }
    }

    pub(super) fn idle_times(
        &self,
        at: GuestHandle<SysctlGetcpuinfo>,
        mut arg: SysctlGetcpuinfo,
    ) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let count = arg.max_cpus.min(self.nr_cpus());
        for cpu in 0..count {
            let idletime = self.hv.sched.idle.of(CpuId(cpu), machine.now_ns());
            machine.write_at(arg.info, cpu.into(), &SysctlCpuinfo { idletime })?;
        }
        arg.nr_cpus = count;
        machine.write(at, &arg)
    }

    pub(super) fn available_memory(
        &self,
        at: GuestHandle<SysctlAvailheap>,
        mut arg: SysctlAvailheap,
    ) -> Result<(), Errno> {
        let low = arg.min_bitwidth.saturating_sub(PAGE_SHIFT);
        let high = match arg.max_bitwidth {
            0 => u32::MAX,
            bits => bits.saturating_sub(PAGE_SHIFT),
        };
        let numa = &self.hv.firmware.numa;
        let node = u32::try_from(arg.node).ok();
        let pages = match node.and_then(|node| numa.span(node)) {
            // Widths are asked for of the whole machine only.
            Some(span) => self.free_pages_in(span),
            None if arg.node == ALL_NODES || arg.node == 0 => {
                self.hv.mem.free_pages_between(low, high)
            }
            None => 0,
        };
        arg.avail_bytes = pages << PAGE_SHIFT;
        self.hv.machine.write(at, &arg)
    }

    pub(super) fn cpu_topology(
        &self,
        at: GuestHandle<SysctlCputopoinfo>,
        mut arg: SysctlCputopoinfo,
    ) -> Result<(), Errno> {
        let machine = &self.hv.machine;
        let fields = ApicIdFields::of(&self.hv.policies.raw);
        let room = arg.num_cpus;
        arg.num_cpus = self.nr_cpus();
        let fits = arg.cputopo.is_null() || room >= arg.num_cpus;
        if fits && !arg.cputopo.is_null() {
            for cpu in 0..arg.num_cpus {
                let (core, socket, node) = match self.place(fields, cpu) {
                    Some((core, socket)) => (core, socket, self.node(cpu)),
                    None => (INVALID_CORE_ID, INVALID_SOCKET_ID, INVALID_NODE_ID),
                };
                let entry = SysctlCputopo { core, socket, node };
                machine.write_at(arg.cputopo, cpu.into(), &entry)?;
            }
        }
        machine.write(at, &arg)?;
        if fits { Ok(()) } else { Err(Errno::ENOBUFS) }
    }

    /// The node of a processor.
    fn node(&self, cpu: u32) -> u32 {
        let apic_id = self.hv.machine.apic_id(CpuId(cpu));
        apic_id.map_or(0, |apic_id| self.hv.firmware.numa.node_of(apic_id))
    }

    fn free_pages_in(&self, span: PhysRange) -> u64 {
        let first = Mfn(span.start >> PAGE_SHIFT);
        self.hv.mem.free_pages_in(first, span.len() >> PAGE_SHIFT)
    }

    /// Memory of the nodes, and how far they are apart.
    pub(super) fn nodes(
        &self,
        at: GuestHandle<SysctlNumainfo>,
        mut arg: SysctlNumainfo,
    ) -> Result<(), Errno> {
        let (machine, numa) = (&self.hv.machine, &self.hv.firmware.numa);
        let nodes = numa.nodes();
        let asked = !arg.meminfo.is_null() || !arg.distance.is_null();
        let fits = !asked || arg.num_nodes >= nodes;
        arg.num_nodes = nodes;
        for node in (0..nodes).filter(|_| fits) {
            if !arg.meminfo.is_null() {
                let info = match numa.span(node) {
                    Some(span) => SysctlMeminfo {
                        memsize: span.len(),
                        memfree: self.free_pages_in(span) << PAGE_SHIFT,
                    },
                    None => SysctlMeminfo {
                        memsize: self.ram_pages() << PAGE_SHIFT,
                        memfree: self.hv.mem.free_pages() << PAGE_SHIFT,
                    },
                };
                machine.write_at(arg.meminfo, node.into(), &info)?;
            }
            if !arg.distance.is_null() {
                for to in 0..nodes {
                    let place = u64::from(node) * u64::from(nodes) + u64::from(to);
                    machine.write_at(arg.distance, place, &numa.distance(node, to))?;
                }
            }
        }
        machine.write(at, &arg)?;
        if fits { Ok(()) } else { Err(Errno::ENOBUFS) }
    }
}

/// What kinds of guests this machine can run.
fn physical_capabilities(hvm: bool) -> u32 {
    let mut capabilities = Physcap::PV | Physcap::GNTTAB_V1;
    if hvm {
        capabilities |= Physcap::HVM | Physcap::HAP;
    }
    capabilities.bits()
}
