//! Tensors that cross the interface: weights and gradients, and data for collectives. There are no operators on them.

use std::ffi::c_void;

use crate::dlpack::{self, Dlpack};
use crate::error::{Code, Error, Result};
use crate::handle::{array, check, length, value, Owned};
use crate::sys;

/// Element types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// IEEE single precision.
    F32 = 1,
    /// IEEE double precision.
    F64 = 2,
    /// IEEE half precision.
    F16 = 3,
    /// The upper half of an `F32`.
    Bf16 = 4,
    /// Signed, 64 bits.
    I64 = 5,
    /// Signed, 32 bits.
    I32 = 6,
    /// Unsigned, 8 bits.
    U8 = 7,
}

/// Rust types that are elements of tensors. Half precisions go as bytes.
pub trait Element: Copy + Default + Send + Sync + 'static + sealed::Sealed {
    /// The dtype with this element.
    const DTYPE: Dtype;
    #[doc(hidden)]
    const DLPACK_CODE: u8;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! elements {
    ($($type:ident $dtype:ident $code:ident,)*) => {$(
        impl sealed::Sealed for $type {}
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            const DLPACK_CODE: u8 = dlpack::$code;
        }
    )*};
}

elements! {
    f32 F32 CODE_FLOAT,
    f64 F64 CODE_FLOAT,
    i64 I64 CODE_INT,
    i32 I32 CODE_INT,
    u8 U8 CODE_UINT,
}

/// A dense tensor in row-major order.
///
/// ```
/// let mut tensor = tessera::Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], &[2, 2])?;
/// assert_eq!(tensor.dims()?, [2, 2]);
/// tensor.set(&[5.0f32; 4])?;
/// assert_eq!(tensor.to_vec::<f32>()?, [5.0; 4]);
/// # Ok::<(), tessera::Error>(())
/// ```
#[derive(Debug)]
pub struct Tensor {
    pub(crate) handle: Owned<sys::tessera_tensor>,
}

impl Tensor {
    /// Zeros on the CPU.
    pub fn zeros(dtype: Dtype, dims: &[i64]) -> Result<Self> {
        Self::create(dtype, dims, None)
    }

    /// A copy of bytes in native order, of any dtype.
    pub fn from_bytes(dtype: Dtype, dims: &[i64], bytes: &[u8]) -> Result<Self> {
        Self::create(dtype, dims, Some(bytes))
    }

    /// A copy of a slice.
    pub fn from_slice<T: Element>(elements: &[T], dims: &[i64]) -> Result<Self> {
        Self::create(T::DTYPE, dims, Some(as_bytes(elements)))
    }

    /// The vector itself, without a copy.
    pub fn from_vec<T: Element>(elements: Vec<T>, dims: &[i64]) -> Result<Self> {
        let count = dims
            .iter()
            .try_fold(1i64, |count, &dim| count.checked_mul(dim).filter(|&n| n >= 0));
        if count != Some(length(elements.len())) {
            let text = format!("dims={dims:?} do not hold {} elements", elements.len());
            return Err(Error::new(Code::Argument, text));
        }
        if elements.is_empty() {
            return Self::zeros(T::DTYPE, dims);
        }
        let managed = dlpack::export(elements, dims.to_vec(), T::DLPACK_CODE);
        // SAFETY: `managed` is a valid DLPack tensor that this function gives away.
        let made = unsafe { Self::from_dlpack(managed.cast()) };
        if made.is_err() {
            drop(Dlpack::from_raw(managed.cast()));
        }
        made
    }

    fn create(dtype: Dtype, dims: &[i64], bytes: Option<&[u8]>) -> Result<Self> {
        // An empty slice is data, not its absence.
        let data = bytes.map_or(std::ptr::null(), |bytes| bytes.as_ptr().cast::<c_void>());
        let size = bytes.map_or(0, <[u8]>::len);
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_tensor_create(
                dtype as i32,
                dims.as_ptr(),
                length(dims.len()),
                data,
                size,
                out,
                error,
            )
        })?;
        Ok(Tensor { handle })
    }

    /// A view of memory that the caller owns; collectives read and write it in place.
    ///
    /// # Safety
    /// `data` must be aligned to its element, valid for reads and writes of `bytes` bytes, and used by nobody else until the
    /// tensor is dropped and every call that got it has ended.
    pub unsafe fn view(dtype: Dtype, dims: &[i64], data: *mut c_void, bytes: usize) -> Result<Self> {
        let handle = Owned::create(|out, error| unsafe {
            sys::tessera_tensor_create_view(
                dtype as i32,
                dims.as_ptr(),
                length(dims.len()),
                data,
                bytes,
                out,
                error,
            )
        })?;
        Ok(Tensor { handle })
    }

    /// Takes over a DLPack 1.x tensor without a copy. On error the caller keeps it.
    ///
    /// # Safety
    /// The tensor must be valid and its memory used by nobody else.
    pub unsafe fn from_dlpack(tensor: *mut sys::DLManagedTensorVersioned) -> Result<Self> {
        let handle =
            Owned::create(|out, error| unsafe { sys::tessera_tensor_create_dlpack(tensor, out, error) })?;
        Ok(Tensor { handle })
    }

    /// The tensor's memory for another library, without a copy. It lives on its own.
    pub fn into_dlpack(self) -> Result<Dlpack> {
        let mut out = std::ptr::null_mut();
        check(|error| unsafe { sys::tessera_tensor_get_dlpack(self.handle.raw(), &mut out, error) })?;
        Ok(Dlpack::from_raw(out))
    }

    /// The element type.
    pub fn dtype(&self) -> Result<Dtype> {
        let dtype: i32 =
            value(|out, error| unsafe { sys::tessera_tensor_get_dtype(self.handle.raw(), out, error) })?;
        Ok(match dtype as u32 {
            sys::TESSERA_DTYPE_F32 => Dtype::F32,
            sys::TESSERA_DTYPE_F64 => Dtype::F64,
            sys::TESSERA_DTYPE_F16 => Dtype::F16,
            sys::TESSERA_DTYPE_BF16 => Dtype::Bf16,
            sys::TESSERA_DTYPE_I64 => Dtype::I64,
            sys::TESSERA_DTYPE_I32 => Dtype::I32,
            sys::TESSERA_DTYPE_U8 => Dtype::U8,
            _ => {
                return Err(Error::new(
                    Code::Unsupported,
                    format!("dtype {dtype} is unknown to this crate"),
                ))
            }
        })
    }

    /// The sizes, outermost first.
    pub fn dims(&self) -> Result<Vec<i64>> {
        array(8, |buffer, cap, length, error| unsafe {
            sys::tessera_tensor_get_dims(self.handle.raw(), buffer, cap, length, error)
        })
    }

    /// The elements as bytes in native order, row-major.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        self.elements::<u8>()
    }

    /// The elements, row-major. `T` must be the tensor's element.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        self.expect::<T>()?;
        self.elements()
    }

    /// Overwrites all elements.
    pub fn set<T: Element>(&mut self, elements: &[T]) -> Result<()> {
        self.expect::<T>()?;
        self.set_bytes(as_bytes(elements))
    }

    /// Overwrites all elements from bytes in native order.
    pub fn set_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        check(|error| unsafe {
            sys::tessera_tensor_set_data(self.handle.raw(), bytes.as_ptr().cast(), bytes.len(), error)
        })
    }

    fn expect<T: Element>(&self) -> Result<()> {
        let dtype = self.dtype()?;
        if dtype == T::DTYPE {
            return Ok(());
        }
        Err(Error::new(
            Code::Argument,
            format!("the tensor's elements are {dtype:?}, not {:?}", T::DTYPE),
        ))
    }

    fn elements<T: Element>(&self) -> Result<Vec<T>> {
        let get = |data: *mut c_void, cap: usize, error| {
            let mut bytes = 0;
            let status =
                unsafe { sys::tessera_tensor_get_data(self.handle.raw(), data, cap, &mut bytes, error) };
            (status, bytes)
        };
        // An empty buffer is too small for all but an empty tensor, and tells the size.
        let (_, bytes) = get(std::ptr::null_mut(), 0, std::ptr::null_mut());
        let mut elements = vec![T::default(); bytes / std::mem::size_of::<T>()];
        check(|error| get(elements.as_mut_ptr().cast(), bytes, error).0)?;
        Ok(elements)
    }
}

fn as_bytes<T: Element>(elements: &[T]) -> &[u8] {
    // SAFETY: elements are plain numbers without padding.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), std::mem::size_of_val(elements)) }
}
