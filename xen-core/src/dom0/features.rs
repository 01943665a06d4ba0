//! The features a kernel supports and requires, by name and by number.
//!
//! Contract: public/features.h (`XENFEAT_*`) and the FEATURES note of public/elfnote.h.

use hypercall_abi::features::Feature;

use super::KernelError;

/// The features that have a name in the FEATURES string.
const NAMES: [(&[u8], Feature); 6] = [
    (b"writable_page_tables", Feature::WRITABLE_PAGE_TABLES),
    (
        b"writable_descriptor_tables",
        Feature::WRITABLE_DESCRIPTOR_TABLES,
    ),
    (b"auto_translated_physmap", Feature::AUTO_TRANSLATED_PHYSMAP),
    (b"supervisor_mode_kernel", Feature::SUPERVISOR_MODE_KERNEL),
    (b"pae_pgdir_above_4gb", Feature::PAE_PGDIR_ABOVE_4GB),
    (b"dom0", Feature::DOM0),
];

/// The bit of `feature` in its submap.
#[must_use]
pub const fn bit(feature: Feature) -> u32 {
    1 << feature.0
}

/// Features of submap 0 as bit sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// What the kernel can live with.
    pub supported: u32,
    /// What the kernel cannot live without; also in `supported`.
    pub required: u32,
}

impl Features {
    /// Adds a FEATURES string: names separated by `|`, `!` before a required one.
    ///
    /// # Errors
    /// A required feature is unknown; an unknown one that is not required is ignored.
    pub(super) fn add_names(&mut self, list: &[u8]) -> Result<(), KernelError> {
        for name in list.split(|&byte| byte == b'|') {
            let (name, required) = match name.strip_prefix(b"!") {
                Some(name) => (name, true),
                None => (name, false),
            };
            match NAMES.iter().find(|(known, _)| *known == name) {
                Some(&(_, feature)) => {
                    self.supported |= bit(feature);
                    self.required |= if required { bit(feature) } else { 0 };
                }
                None if required => return Err(KernelError::UnknownRequiredFeature),
                None => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_string() {
        let mut features = Features::default();
        features
            .add_names(b"!writable_page_tables|pae_pgdir_above_4gb")
            .unwrap();
        assert_eq!(
            features,
            Features {
                supported: 0x11,
                required: 0x01
            }
        );
    }

    #[test]
    fn unknown_names_matter_only_when_required() {
        let mut features = Features::default();
        features.add_names(b"dom0|teleport||").unwrap();
        assert_eq!(
            features,
            Features {
                supported: bit(Feature::DOM0),
                required: 0
            }
        );
        assert_eq!(
            features.add_names(b"!teleport"),
            Err(KernelError::UnknownRequiredFeature)
        );
    }
}
