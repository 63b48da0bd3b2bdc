//! DLPack 1.x (github.com/dmlc/dlpack): memory that goes to another library with the function that frees it.

use std::ffi::c_void;

use crate::sys;

#[repr(C)]
pub(crate) struct Version {
    pub major: u32,
    pub minor: u32,
}

#[repr(C)]
pub(crate) struct DataType {
    pub code: u8,
    pub bits: u8,
    pub lanes: u16,
}

#[repr(C)]
pub(crate) struct Tensor {
    pub data: *mut c_void,
    pub device_type: i32,
    pub device_id: i32,
    pub ndim: i32,
    pub dtype: DataType,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
pub(crate) struct Managed {
    pub version: Version,
    pub manager_ctx: *mut c_void,
    pub deleter: Option<unsafe extern "C" fn(*mut Managed)>,
    pub flags: u64,
    pub tensor: Tensor,
}

pub(crate) const DEVICE_CPU: i32 = 1;
pub(crate) const CODE_INT: u8 = 0;
pub(crate) const CODE_UINT: u8 = 1;
pub(crate) const CODE_FLOAT: u8 = 2;

/// What `manager_ctx` points to.
struct Owner<T> {
    _data: Vec<T>,
    _shape: Vec<i64>,
}

/// Drops what [`export`] put on the heap. `T` is a number, so nothing in here can panic.
unsafe extern "C" fn free<T>(managed: *mut Managed) {
    // SAFETY: the library calls this once, with the pointer that `export` made.
    unsafe {
        let managed = Box::from_raw(managed);
        drop(Box::from_raw(managed.manager_ctx.cast::<Owner<T>>()));
    }
}

/// Moves a dense row-major array into a managed tensor whose deleter frees it. The element count is the product of `shape`.
pub(crate) fn export<T>(mut data: Vec<T>, mut shape: Vec<i64>, code: u8) -> *mut Managed {
    let tensor = Tensor {
        data: data.as_mut_ptr().cast(),
        device_type: DEVICE_CPU,
        device_id: 0,
        ndim: shape.len() as i32,
        dtype: DataType {
            code,
            bits: (std::mem::size_of::<T>() * 8) as u8,
            lanes: 1,
        },
        shape: shape.as_mut_ptr(),
        strides: std::ptr::null_mut(),
        byte_offset: 0,
    };
    let owner = Box::new(Owner {
        _data: data,
        _shape: shape,
    });
    Box::into_raw(Box::new(Managed {
        version: Version { major: 1, minor: 0 },
        manager_ctx: Box::into_raw(owner).cast(),
        deleter: Some(free::<T>),
        flags: 0,
        tensor,
    }))
}

/// A tensor's memory as another library takes it over. Released when dropped, unless it is given away.
#[derive(Debug)]
pub struct Dlpack(*mut sys::DLManagedTensorVersioned);

// SAFETY: the tensor has no thread of its own; its deleter may run on any.
unsafe impl Send for Dlpack {}

impl Dlpack {
    pub(crate) fn from_raw(raw: *mut sys::DLManagedTensorVersioned) -> Self {
        Dlpack(raw)
    }

    /// The `DLManagedTensorVersioned`, for as long as this object lives.
    pub fn as_ptr(&self) -> *mut sys::DLManagedTensorVersioned {
        self.0
    }

    /// Gives the tensor away; the taker calls its deleter.
    pub fn into_raw(self) -> *mut sys::DLManagedTensorVersioned {
        let raw = self.0;
        std::mem::forget(self);
        raw
    }
}

impl Drop for Dlpack {
    fn drop(&mut self) {
        let managed = self.0.cast::<Managed>();
        // SAFETY: the library made it with a deleter for whoever holds it last.
        unsafe {
            if let Some(deleter) = (*managed).deleter {
                deleter(managed);
            }
        }
    }
}
