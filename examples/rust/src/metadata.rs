//! What stands in the file beside the weights: keys and values, and the table of tensors.

use crate::call::bytes;
use crate::error::Result;
use crate::ffi;
use crate::model::Model;
use std::os::raw::c_char;

/// One value of the metadata. Strings are as they stand in the file, which may be no UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value<'m> {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(&'m [u8]),
}

/// An entry of the metadata.
#[derive(Clone, Copy)]
pub struct Metadata<'m> {
    model: &'m Model,
    index: i32,
    raw: ffi::slm_metadata,
}

impl<'m> Metadata<'m> {
    /// The key, such as `general.name`.
    pub fn key(&self) -> &'m [u8] {
        // SAFETY: keys and strings are the model's.
        unsafe { bytes(self.raw.key, self.raw.key_size) }
    }

    /// Whether it has elements rather than a value.
    pub fn is_array(&self) -> bool {
        self.raw.is_array != 0
    }

    /// Elements of an array, else 1.
    pub fn count(&self) -> u64 {
        self.raw.count
    }

    /// The value; of an array the first element, if it has one.
    pub fn value(&self) -> Option<Value<'m>> {
        self.value_of(&self.raw)
    }

    /// Element `index` of an array.
    pub fn element(&self, index: u64) -> Result<Option<Value<'m>>> {
        let raw = read(self.model, self.index, index)?;
        Ok(self.value_of(&raw))
    }

    fn value_of(&self, raw: &ffi::slm_metadata) -> Option<Value<'m>> {
        if raw.count == 0 {
            return None;
        }
        Some(match raw.value_type {
            ffi::SLM_TYPE_BOOL => Value::Bool(raw.integer != 0),
            ffi::SLM_TYPE_FLOAT32 | ffi::SLM_TYPE_FLOAT64 => Value::Float(raw.real),
            // SAFETY: as for the key.
            ffi::SLM_TYPE_STRING => Value::Text(unsafe { bytes(raw.text, raw.text_size) }),
            ffi::SLM_TYPE_INT8 | ffi::SLM_TYPE_INT16 => Value::Signed(raw.integer),
            ffi::SLM_TYPE_INT32 | ffi::SLM_TYPE_INT64 => Value::Signed(raw.integer),
            ffi::SLM_TYPE_ARRAY => return None,
            _ => Value::Unsigned(raw.integer as u64),
        })
    }
}

fn read(model: &Model, index: i32, element: u64) -> Result<ffi::slm_metadata> {
    let mut raw = ffi::slm_metadata::default();
    // SAFETY: the struct is ours and tells its size.
    model.call(|m, err| unsafe { ffi::slm_model_metadata(m, index, element, &mut raw, err) })?;
    Ok(raw)
}

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TensorInfo<'m> {
    /// Its name.
    pub name: &'m [u8],
    /// The name of its encoding: "Q8_0".
    pub encoding: &'m str,
    /// The number of its encoding in GGUF.
    pub kind: i32,
    /// Elements along each dimension, the fastest-varying first.
    pub shape: Vec<i64>,
    /// Which file of a split model.
    pub file: i32,
    /// Where in that file.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

impl Model {
    /// All entries, in the order of the file.
    ///
    /// ```
    /// let model = slm::Model::open("../models/storyteller-q8_0.gguf")?;
    /// for entry in model.metadata() {
    ///     println!("{}: {:?}", String::from_utf8_lossy(entry.key()), entry.value());
    /// }
    /// # Ok::<(), slm::Error>(())
    /// ```
    pub fn metadata(&self) -> impl Iterator<Item = Metadata<'_>> {
        (0..self.info().n_metadata).filter_map(move |index| self.metadata_entry(index).ok())
    }

    /// The entry of a key, if the file has it.
    pub fn metadata_value(&self, key: &str) -> Result<Option<Metadata<'_>>> {
        let mut index = -1;
        // SAFETY: the key is there until the call returns.
        self.call(|model, err| unsafe {
            let start = key.as_ptr() as *const c_char;
            ffi::slm_model_metadata_find(model, start, key.len(), &mut index, err)
        })?;
        if index < 0 {
            Ok(None)
        } else {
            self.metadata_entry(index).map(Some)
        }
    }

    fn metadata_entry(&self, index: i32) -> Result<Metadata<'_>> {
        Ok(Metadata { model: self, index, raw: read(self, index, 0)? })
    }

    /// Tensor `index`, of `info().n_tensors`.
    pub fn tensor(&self, index: i32) -> Result<TensorInfo<'_>> {
        let mut raw = ffi::slm_tensor_info::default();
        // SAFETY: the struct is ours and tells its size; names are the model's.
        unsafe {
            self.call(|model, err| ffi::slm_model_tensor(model, index, &mut raw, err))?;
            Ok(TensorInfo {
                name: bytes(raw.name, raw.name_size),
                encoding: crate::call::c_text(raw.encoding_name),
                kind: raw.encoding,
                shape: raw.shape.iter().take(raw.n_dims.max(0) as usize).copied().collect(),
                file: raw.file,
                offset: raw.offset,
                size: raw.size,
            })
        }
    }
}
