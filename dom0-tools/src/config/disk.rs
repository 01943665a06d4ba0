//! Disk specifications: `target,format,vdev,access` and `key=value`, and the numbers of virtual devices.
//!
//! Contract: xl-disk-configuration(5), and "Xen guest interface" vbd-interface(7) for device numbers.

use serde::{Deserialize, Serialize};

/// Whether the guest may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskMode {
    /// Read only.
    Ro,
    /// Read and write.
    Rw,
}

/// A disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The file or block device.
    pub target: String,
    /// The guest's name for it, such as xvda.
    pub vdev: String,
    /// Whether the guest may write.
    pub mode: DiskMode,
    /// Whether others may have it open for writing, too (`w!`, `rw!`).
    pub shared: bool,
    /// Whether the guest may discard blocks.
    pub discard: bool,
    /// Whether it is shown as a CD.
    pub cdrom: bool,
    /// Whether direct I/O is safe although the back end is a file.
    pub direct_io_safe: bool,
}

impl Disk {
    /// Parses a specification.
    ///
    /// # Errors
    /// What is wrong and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut fields = Fields::default();
        let mut rest = text.trim();
        // Xen 3's prefixes stand for the format, whose place is then left out.
        for prefix in ["phy:", "file:", "tap2:", "tap:", "aio:", "raw:"] {
            if let Some(stripped) = rest.strip_prefix(prefix) {
                rest = stripped;
                fields.prefixed = true;
            }
        }
        let mut position = 0;
        while !rest.is_empty() {
            // The target may contain commas, so it comes last and takes the rest.
            if let Some(target) = rest.trim_start().strip_prefix("target=") {
                fields.target = Some(target.to_owned());
                break;
            }
            let (part, after) = rest.split_once(',').unwrap_or((rest, ""));
            rest = after;
            fields.part(part.trim(), &mut position)?;
        }
        fields.finish(text)
    }

    /// The virtual device's number.
    #[must_use]
    pub fn device(&self) -> Option<u32> {
        device_number(&self.vdev)
    }
}

#[derive(Default)]
struct Fields {
    target: Option<String>,
    vdev: Option<String>,
    mode: Option<(DiskMode, bool)>,
    discard: Option<bool>,
    cdrom: bool,
    direct_io_safe: bool,
    prefixed: bool,
}

impl Fields {
    fn part(&mut self, part: &str, position: &mut u32) -> Result<(), String> {
        if let Some((key, value)) = part.split_once('=') {
            return self.key(key.trim(), value.trim());
        }
        match part {
            "cdrom" => self.cdrom = true,
            "discard" => self.discard = Some(true),
            "no-discard" => self.discard = Some(false),
            "direct-io-safe" => self.direct_io_safe = true,
            _ => {
                *position += 1;
                if *position == 2 && self.prefixed {
                    *position += 1;
                }
                match *position {
                    1 => self.target = Some(part.to_owned()),
                    2 => self.format(part)?,
                    3 => match part.strip_suffix(":cdrom") {
                        Some(vdev) => {
                            self.vdev = Some(vdev.to_owned());
                            self.cdrom = true;
                        }
                        None => self.vdev = Some(part.to_owned()),
                    },
                    4 => self.access(part)?,
                    _ => {
                        return Err(format!(
                            "\"{part}\" is a fifth field: expected target, format, vdev and access only"
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    fn key(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "format" => self.format(value)?,
            "vdev" => self.vdev = Some(value.to_owned()),
            "access" => self.access(value)?,
            "devtype" => match value {
                "disk" => self.cdrom = false,
                "cdrom" => self.cdrom = true,
                _ => return Err(format!("devtype={value}: expected disk or cdrom")),
            },
            "backendtype" => match value {
                "phy" => {}
                "qdisk" | "tap" => {
                    return Err(format!(
                        "backendtype={value} needs a user-space back end, which is not there: expected phy or nothing"
                    ));
                }
                _ => return Err(format!("backendtype={value}: expected phy")),
            },
            "backend" => match value {
                "0" | "Domain-0" => {}
                _ => {
                    return Err(format!(
                        "backend={value}: driver domains are not supported, leave it out"
                    ));
                }
            },
            "script" => {
                return Err(format!(
                    "script={value}: disks are attached without scripts, leave it out and give a file or block device as target"
                ));
            }
            _ => {
                return Err(format!(
                    "unknown key {key}: expected format, vdev, access, devtype, backendtype or target"
                ));
            }
        }
        Ok(())
    }

    fn format(&mut self, format: &str) -> Result<(), String> {
        match format {
            "" | "raw" => Ok(()),
            "qcow" | "qcow2" | "vhd" | "qed" => Err(format!(
                "format {format} needs a user-space back end, which is not there: convert the image to raw"
            )),
            _ => Err(format!("unknown format {format}: expected raw")),
        }
    }

    fn access(&mut self, access: &str) -> Result<(), String> {
        self.mode = Some(match access {
            "" | "rw" | "w" => (DiskMode::Rw, false),
            "rw!" | "w!" => (DiskMode::Rw, true),
            "r" | "ro" => (DiskMode::Ro, false),
            _ => return Err(format!("unknown access {access}: expected r, w or w!")),
        });
        Ok(())
    }

    fn finish(self, text: &str) -> Result<Disk, String> {
        let target = self
            .target
            .filter(|target| !target.is_empty())
            .ok_or_else(|| format!("\"{text}\" names no file or block device (target=)"))?;
        let vdev = self.vdev.filter(|vdev| !vdev.is_empty()).ok_or_else(|| {
            format!("\"{text}\" has no virtual device: expected vdev such as xvda")
        })?;
        if device_number(&vdev).is_none() {
            return Err(format!(
                "{vdev} is no virtual device: expected xvda, xvda1, hda, sda and so on"
            ));
        }
        let (mode, shared) = match self.mode {
            Some(mode) => mode,
            None if self.cdrom => (DiskMode::Ro, false),
            None => (DiskMode::Rw, false),
        };
        Ok(Disk {
            target,
            vdev,
            mode: if self.cdrom { DiskMode::Ro } else { mode },
            shared,
            discard: self.discard.unwrap_or(true),
            cdrom: self.cdrom,
            direct_io_safe: self.direct_io_safe,
        })
    }
}

/// The number of the virtual device `name`: `xvdXN`, `hdXN`, `sdXN`, `dNpM`, or a number.
#[must_use]
pub fn device_number(name: &str) -> Option<u32> {
    if let Some(number) = name.strip_prefix("0x") {
        return u32::from_str_radix(number, 16).ok();
    }
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().ok();
    }
    if let Some(rest) = name.strip_prefix('d')
        && rest.starts_with(|char: char| char.is_ascii_digit())
    {
        let (disk, partition) = rest.split_once('p').unwrap_or((rest, "0"));
        return xvd(disk.parse().ok()?, partition.parse().ok()?);
    }
    let (kind, rest) = ["xvd", "hd", "sd"]
        .iter()
        .find_map(|kind| Some((*kind, name.strip_prefix(kind)?)))?;
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let (letters, partition) = rest.split_at(letters);
    let disk = letters_to_number(letters)?;
    let partition = match partition {
        "" => 0,
        digits if digits.starts_with('0') => return None,
        digits => digits.parse().ok()?,
    };
    match kind {
        "xvd" => xvd(disk, partition),
        "hd" if disk < 4 && partition < 64 => {
            // IDE has two channels with a major number each: 3 and 22.
            let major = if disk < 2 { 3 } else { 22 };
            Some(major << 8 | (disk & 1) << 6 | partition)
        }
        "sd" if disk < 16 && partition < 16 => Some(8 << 8 | disk << 4 | partition),
        _ => None,
    }
}

fn xvd(disk: u32, partition: u32) -> Option<u32> {
    if disk < 16 && partition < 16 {
        Some(202 << 8 | disk << 4 | partition)
    } else if disk < 1 << 20 && partition < 256 {
        Some(1 << 28 | disk << 8 | partition)
    } else {
        None
    }
}

/// a is 0, z is 25, aa is 26.
fn letters_to_number(letters: &str) -> Option<u32> {
    if letters.is_empty() {
        return None;
    }
    letters
        .bytes()
        .try_fold(0_u32, |number, letter| {
            number
                .checked_mul(26)?
                .checked_add(u32::from(letter - b'a') + 1)
        })
        .map(|number| number - 1)
}

/// The name of the virtual device with this number, as far as it is xvd's.
#[must_use]
pub fn device_of_name(device: u32) -> String {
    let (disk, partition) = if device >> 28 == 1 {
        (device >> 8 & 0xf_ffff, device & 0xff)
    } else if device >> 8 == 202 {
        (device >> 4 & 0xf, device & 0xf)
    } else {
        return device.to_string();
    };
    let mut letters = Vec::new();
    let mut rest = disk + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    let letters: String = letters.iter().rev().collect();
    match partition {
        0 => format!("xvd{letters}"),
        partition => format!("xvd{letters}{partition}"),
    }
}
