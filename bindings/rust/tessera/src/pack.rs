//! The packers alone; datasets use them by themselves.

use crate::config::Config;
use crate::error::Result;
use crate::handle::{array, check, check_abi, length};
use crate::sys;

/// How documents are put into packs; each goes whole into one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Packer {
    /// Into the last pack, or a new one.
    NextFit,
    /// Into the first pack that has room.
    FirstFit,
    /// The longest first, into the first pack that has room.
    FirstFitDecreasing,
    /// The longest first, into the fullest pack that has room.
    BestFitDecreasing,
    /// The longest first, into the emptiest pack that has room.
    WorstFitDecreasing,
    /// As few packs as a search finds.
    Optimal,
}

/// What [`pack`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packs {
    /// The pack of each document, from 0.
    pub of: Vec<i64>,
    /// The number of packs.
    pub count: i64,
}

/// Puts documents of these lengths into packs of `capacity` tokens. The result depends on the arguments alone; only
/// [`Packer::Optimal`] uses the seed.
///
/// ```
/// let packs = tessera::pack(tessera::Packer::BestFitDecreasing, &[3, 5, 2, 6], 8, 0)?;
/// assert_eq!(packs.count, 2);
/// # Ok::<(), tessera::Error>(())
/// ```
pub fn pack(packer: Packer, lengths: &[i64], capacity: i64, seed: i64) -> Result<Packs> {
    check_abi()?;
    let name = match packer {
        Packer::NextFit => c"next_fit",
        Packer::FirstFit => c"first_fit",
        Packer::FirstFitDecreasing => c"ffd",
        Packer::BestFitDecreasing => c"bfd",
        Packer::WorstFitDecreasing => c"wfd",
        Packer::Optimal => c"optimal",
    };
    let mut packs = Packs {
        of: vec![0; lengths.len()],
        count: 0,
    };
    check(|error| unsafe {
        sys::tessera_pack_create(
            name.as_ptr(),
            lengths.as_ptr(),
            length(lengths.len()),
            capacity,
            seed,
            packs.of.as_mut_ptr(),
            &mut packs.count,
            error,
        )
    })?;
    Ok(packs)
}

/// A document, or a part of it, in a row of [`pack_pieces`]; all count from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Its row.
    pub row: i64,
    /// Its document.
    pub document: i64,
    /// Its first token in the document.
    pub begin: i64,
    /// Its tokens.
    pub length: i64,
}

/// The rows that a dataset with these keys makes of documents of these lengths.
pub fn pack_pieces(config: &Config, lengths: &[i64]) -> Result<Vec<Piece>> {
    let numbers: Vec<i64> = array(6 * lengths.len() + 64, |buffer, cap, count, error| unsafe {
        let (handle, n) = (config.handle.raw(), length(lengths.len()));
        sys::tessera_pack_get_pieces(handle, lengths.as_ptr(), n, buffer, cap, count, error)
    })?;
    let piece = |numbers: &[i64]| Piece {
        row: numbers[0],
        document: numbers[1],
        begin: numbers[2],
        length: numbers[3],
    };
    Ok(numbers.chunks_exact(4).map(piece).collect())
}
