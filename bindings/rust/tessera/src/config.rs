//! Settings by key and text: `optimizer.lr` = `3e-4`.

use std::path::Path;

use crate::error::Result;
use crate::handle::{c_path, c_text, check, check_abi, field, text, value, Owned};
use crate::sys;

/// A configuration. Every key has a type, bounds and a default; a value that breaks them, or an unknown key, is an
/// error at once.
///
/// ```
/// let config = tessera::Config::new()?.with("optimizer.lr", 3e-4)?.with("train.global_batch", 8)?;
/// assert_eq!(config.get("train.global_batch")?, "8");
/// assert!(config.set("optimizer.lrr", 1).unwrap_err().message().contains("optimizer.lr"));
/// # Ok::<(), tessera::Error>(())
/// ```
#[derive(Debug)]
pub struct Config {
    pub(crate) handle: Owned<sys::tessera_config>,
}

impl Config {
    /// A configuration in which every key has its default.
    pub fn new() -> Result<Self> {
        // SAFETY (here and in all calls of this crate): outputs and errors live during the call, inputs are copied by
        // the library, and handles are numbers that it checks.
        let handle = Owned::create(|out, error| unsafe { sys::tessera_config_create(out, error) })?;
        Ok(Config { handle })
    }

    /// Sets one key and passes the configuration on.
    pub fn with(self, key: &str, value: impl ToString) -> Result<Self> {
        self.set(key, value)?;
        Ok(self)
    }

    /// Sets one key; an empty value goes back to the default. The error for an unknown key names the nearest.
    pub fn set(&self, key: &str, value: impl ToString) -> Result<()> {
        let (key, value) = (c_text("key", key)?, c_text("value", value.to_string())?);
        check(|error| unsafe {
            sys::tessera_config_set(self.handle.raw(), key.as_ptr(), value.as_ptr(), error)
        })
    }

    /// The value of one key, or its default, or "".
    pub fn get(&self, key: &str) -> Result<String> {
        let key = c_text("key", key)?;
        text(|buffer, cap, length, error| unsafe {
            sys::tessera_config_get(self.handle.raw(), key.as_ptr(), buffer, cap, length, error)
        })
    }

    /// Sets keys from a YAML or JSON file of nested maps: all or nothing.
    pub fn load(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path("path", path.as_ref())?;
        check(|error| unsafe { sys::tessera_config_load(self.handle.raw(), path.as_ptr(), error) })
    }

    /// Like [`load`](Config::load), from text.
    pub fn load_text(&self, yaml: &str) -> Result<()> {
        let yaml = c_text("yaml", yaml)?;
        check(|error| unsafe { sys::tessera_config_load_text(self.handle.raw(), yaml.as_ptr(), error) })
    }

    /// The keys that were set, as YAML.
    pub fn to_yaml(&self) -> Result<String> {
        text(|buffer, cap, length, error| unsafe {
            sys::tessera_config_get_text(self.handle.raw(), buffer, cap, length, error)
        })
    }

    /// All keys that exist, in the order of the documentation.
    pub fn keys() -> Result<Vec<Key>> {
        check_abi()?;
        let count: i64 = value(|out, error| unsafe { sys::tessera_key_count(out, error) })?;
        (0..count)
            .map(|index| Key::read(|info, error| unsafe { sys::tessera_key_get(index, info, error) }))
            .collect()
    }

    /// What is known of one key.
    pub fn describe(key: &str) -> Result<Key> {
        check_abi()?;
        let key = c_text("key", key)?;
        Key::read(|info, error| unsafe { sys::tessera_key_describe(key.as_ptr(), info, error) })
    }
}

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyType {
    /// `true` or `false`.
    Boolean,
    /// An integer.
    Integer,
    /// A real number.
    Real,
    /// Text.
    Text,
    /// One of [`Key::choices`].
    Choice,
    /// Texts separated by commas; `\,` is a comma inside one.
    TextList,
    /// Real numbers separated by commas.
    RealList,
    /// A type that this version of the crate does not know.
    Unknown(i32),
}

/// What is known of one key of a [`Config`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Key {
    /// Such as "optimizer.lr".
    pub name: String,
    /// The type of its value.
    pub kind: KeyType,
    /// Inclusive lower bound.
    pub min: Option<f64>,
    /// Inclusive upper bound.
    pub max: Option<f64>,
    /// "" when there is none.
    pub default: String,
    /// The values that a choice may have.
    pub choices: Vec<String>,
    /// A sentence of documentation.
    pub doc: String,
}

impl Key {
    fn read(
        call: impl FnOnce(*mut sys::tessera_key_info, *mut sys::tessera_error) -> sys::tessera_status,
    ) -> Result<Self> {
        let mut info = std::mem::MaybeUninit::<sys::tessera_key_info>::zeroed();
        let size = std::mem::size_of::<sys::tessera_key_info>();
        check(|error| unsafe {
            match sys::tessera_key_info_init(info.as_mut_ptr(), size) {
                0 => call(info.as_mut_ptr(), error),
                status => status,
            }
        })?;
        // SAFETY: zeroed, then filled.
        let info = unsafe { info.assume_init() };
        let kind = match info.type_ as u32 {
            sys::TESSERA_KEY_BOOLEAN => KeyType::Boolean,
            sys::TESSERA_KEY_INTEGER => KeyType::Integer,
            sys::TESSERA_KEY_REAL => KeyType::Real,
            sys::TESSERA_KEY_TEXT => KeyType::Text,
            sys::TESSERA_KEY_CHOICE => KeyType::Choice,
            sys::TESSERA_KEY_TEXT_LIST => KeyType::TextList,
            sys::TESSERA_KEY_REAL_LIST => KeyType::RealList,
            _ => KeyType::Unknown(info.type_),
        };
        let choices = field(&info.choices);
        Ok(Key {
            name: field(&info.name),
            kind,
            min: (info.has_min != 0).then_some(info.min),
            max: (info.has_max != 0).then_some(info.max),
            default: field(&info.default_value),
            choices: choices
                .split(',')
                .filter(|choice| !choice.is_empty())
                .map(str::to_owned)
                .collect(),
            doc: field(&info.doc),
        })
    }
}
