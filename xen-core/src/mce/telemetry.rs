//! Records of machine checks that wait for the control domain (public header arch-x86/xen-mca.h).

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use hypercall_abi::arch_x86::xen_mca::{
    McFlags, McInfo, McType, McinfoBank, McinfoCommon, McinfoGlobal,
};
use hypercall_abi::xen::DomId;
use zerocopy::{FromZeros, IntoBytes};

use super::Bank;
use crate::sync::{Rank, RankedMutex};

/// `MCINFO_FLAGS_UNCOMPLETE`: records are missing.
const INCOMPLETE: u32 = 1;
/// Records of one kind that are kept. The first ones tell most: later ones are dropped.
const MAX_KEPT: usize = 32;

/// How a machine check was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// By looking: it was corrected.
    Polled,
    /// By #MC.
    Raised,
}

#[derive(Debug)]
struct Entry {
    id: u64,
    info: McInfo,
    /// The control domain has it, and has not said that it is done with it.
    fetched: bool,
}

#[derive(Debug, Default)]
struct Queues {
    last_id: u64,
    polled: VecDeque<Entry>,
    raised: VecDeque<Entry>,
}

impl Queues {
    fn of(&mut self, urgency: Urgency) -> &mut VecDeque<Entry> {
        match urgency {
            Urgency::Polled => &mut self.polled,
            Urgency::Raised => &mut self.raised,
        }
    }
}

/// All records.
#[derive(Debug)]
pub struct Telemetry(RankedMutex<Queues>);

impl Default for Telemetry {
    fn default() -> Self {
        Self(RankedMutex::new(Rank::Machine, Queues::default()))
    }
}

impl Telemetry {
    /// Keeps a record. False: there is no room.
    pub fn keep(&self, urgency: Urgency, info: McInfo) -> bool {
        let mut queues = self.0.lock();
        queues.last_id += 1;
        let id = queues.last_id;
        let queue = queues.of(urgency);
        if queue.len() >= MAX_KEPT {
            return false;
        }
        queue.push_back(Entry {
            id,
            info,
            fetched: false,
        });
        true
    }

    /// The oldest record that was not fetched, and its number.
    pub fn fetch(&self, urgency: Urgency) -> Option<(u64, McInfo)> {
        let mut queues = self.0.lock();
        let entry = queues.of(urgency).iter_mut().find(|entry| !entry.fetched)?;
        entry.fetched = true;
        Some((entry.id, entry.info))
    }

    /// A record that was fetched could not be handed over after all.
    pub fn unfetch(&self, urgency: Urgency, id: u64) {
        let mut queues = self.0.lock();
        for entry in queues.of(urgency).iter_mut().filter(|entry| entry.id == id) {
            entry.fetched = false;
        }
    }

    /// The control domain is done with a record. One that it does not have is none of its business.
    pub fn acknowledge(&self, urgency: Urgency, id: u64) {
        let mut queues = self.0.lock();
        queues
            .of(urgency)
            .retain(|entry| entry.id != id || !entry.fetched);
    }
}

/// A record of `banks`: one entry about the event, one for each bank.
pub(super) fn record(
    banks: &[Bank],
    urgency: Urgency,
    status: u64,
    apic_id: u32,
    tsc: u64,
) -> McInfo {
    let mut info = McInfo::new_zeroed();
    let mut data: Vec<u8> = Vec::new();
    let mut flags = match urgency {
        Urgency::Polled => McFlags::POLLED,
        Urgency::Raised => McFlags::MCE,
    };
    flags |= if banks.iter().any(Bank::is_uncorrected) {
        McFlags::UNCORRECTABLE | McFlags::RECOVERABLE
    } else {
        McFlags::CORRECTABLE
    };
    let mut global = McinfoGlobal::new_zeroed();
    global.common = head::<McinfoGlobal>(McType::GLOBAL);
    // The error is the machine's, not a domain's.
    (global.mc_domid, global.mc_vcpuid) = (DomId::INVALID.0, u16::MAX);
    global.mc_apicid = apic_id;
    global.mc_flags = flags.bits();
    global.mc_gstatus = status;
    data.extend_from_slice(global.as_bytes());
    info.mi_nentries = 1;
    for bank in banks {
        let mut entry = McinfoBank::new_zeroed();
        entry.common = head::<McinfoBank>(McType::BANK);
        (entry.mc_bank, entry.mc_domid) = (bank.number, DomId::INVALID.0);
        (entry.mc_status, entry.mc_addr) = (bank.status, bank.address);
        (entry.mc_misc, entry.mc_tsc) = (bank.misc, tsc);
        if data.len() + size_of::<McinfoBank>() > size_of_val(&info.mi_data) {
            info.flags |= INCOMPLETE;
            break;
        }
        data.extend_from_slice(entry.as_bytes());
        info.mi_nentries += 1;
    }
    info.mi_data.as_mut_bytes()[..data.len()].copy_from_slice(&data);
    info
}

fn head<T>(kind: McType) -> McinfoCommon {
    McinfoCommon {
        r#type: kind,
        size: u16::try_from(size_of::<T>()).unwrap_or(u16::MAX),
    }
}
