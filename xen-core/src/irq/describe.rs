//! Interrupts in words, for the debug keys.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::desc::{Handler, Source};
use super::table::IrqTable;
use super::{KICK_VECTOR, SERIAL_VECTOR, SPURIOUS_VECTOR, TIMER_VECTOR};
use crate::num::Vector;

/// Bits of `status=`, as Xen numbers them.
const STATUS_DISABLED: u32 = 1 << 1;
const STATUS_GUEST: u32 = 1 << 4;

/// Vectors that are nobody's device.
const DIRECT_VECTORS: [(Vector, &str); 4] = [
    (SERIAL_VECTOR, "serial line"),
    (TIMER_VECTOR, "timer"),
    (KICK_VECTOR, "kick"),
    (SPURIOUS_VECTOR, "spurious interrupt"),
];

impl IrqTable {
    /// Interrupts and who has them, as Xen's debug key prints them.
    #[must_use]
    pub fn describe_irqs(&self) -> Vec<String> {
        let state = self.state.lock();
        let mut lines = Vec::from([String::from("IRQ information:")]);
        for (irq, desc) in &state.descs {
            let Some(place) = desc.place else { continue };
            let (cpu, vector) = (place.cpu.0, place.vector.0);
            let bound = matches!(desc.handler, Handler::Domains { .. });
            let status = match desc.handler {
                Handler::None => STATUS_DISABLED,
                Handler::Hypervisor => 0,
                Handler::Domains { .. } => STATUS_GUEST,
            };
            let mut line = format!(
                "   IRQ:{irq:4} vec:{vector:02x} {:<15} status={status:03x} aff:{{{cpu}}}/{{{cpu}}}",
                desc.kind(),
            );
            if bound {
                line.push_str(&format!(
                    " in-flight={}{}",
                    desc.subscribers.iter().filter(|sub| sub.in_service).count(),
                    if desc.hold.any() { "*" } else { "" },
                ));
            } else if desc.handler == Handler::None {
                line.push_str(" mapped, unbound");
            }
            for (i, subscriber) in desc.subscribers.iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                let masked = if subscriber.in_service { 'M' } else { '-' };
                line.push_str(&format!(
                    "{comma} d{}:{:3}(--{masked})",
                    subscriber.domain.0, subscriber.pirq.0
                ));
            }
            if let Some(leaving) = desc.leaving {
                let (cpu, vector) = (leaving.place.cpu.0, leaving.place.vector.0);
                line.push_str(&format!(" moved from CPU{cpu} vec:{vector:02x}"));
            }
            if desc.hold.abandoned || desc.strays != 0 {
                line.push_str(&format!(" unhandled, {} strays", desc.strays));
            }
            lines.push(line);
        }
        lines.push(String::from("Direct vector information:"));
        for (vector, what) in DIRECT_VECTORS {
            lines.push(format!("   {:#04x} -> {what}", vector.0));
        }
        if state.unknown != 0 {
            lines.push(format!(
                "interrupts with an unused vector: {}",
                state.unknown
            ));
        }
        lines
    }

    /// Message-signalled interrupts, as Xen's debug key prints them.
    #[must_use]
    pub fn describe_msi(&self) -> Vec<String> {
        let state = self.state.lock();
        let mut lines = Vec::from([String::from("MSI information:")]);
        for (irq, desc) in &state.descs {
            let (Source::Msi(source), Some(place)) = (desc.source, desc.place) else {
                continue;
            };
            let kind = if source.entry.is_some() {
                "MSI-X"
            } else {
                "MSI"
            };
            let masked = desc.is_held();
            lines.push(format!(
                " {kind:<6}{irq:4} vec={:02x}  fixed  edge   assert phys    cpu dest={:08x} mask={}/{} /{} {}",
                place.vector.0,
                place.cpu.0,
                u8::from(source.is_maskable()),
                if masked { 'H' } else { ' ' },
                if masked { '1' } else { '0' },
                desc.source,
            ));
        }
        lines
    }

    /// One line for each announced PCI function.
    #[must_use]
    pub fn describe_pci(&self) -> Vec<String> {
        let state = self.state.lock();
        state
            .devices
            .iter()
            .map(|(address, device)| {
                let mut line = format!("{address}");
                if let Some(physical) = device.virtual_of {
                    line.push_str(&format!(" virtual function of {physical}"));
                }
                if device.extended {
                    line.push_str(" extended");
                }
                if let Some(proximity) = device.proximity {
                    line.push_str(&format!(" node {proximity}"));
                }
                line
            })
            .collect()
    }
}
