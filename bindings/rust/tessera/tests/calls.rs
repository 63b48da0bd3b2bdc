//! Calls that need no job: settings, tensors, packs, tokenizers, logging, versions.

mod common;

use common::TempFolder;
use tessera::{
    log, pack, pack_pieces, Batch, BatchArray, BatchForm, Code, Config, Dtype, FormOptions, KeyType, Packer,
    Piece, Result, Tensor, Tokenizer,
};

#[test]
fn every_key_is_described_and_has_its_default() -> Result<()> {
    let keys = Config::keys()?;
    assert!(keys.len() > 20);
    let config = Config::new()?;
    for key in &keys {
        assert!(!key.doc.is_empty(), "{}", key.name);
        assert_eq!(&Config::describe(&key.name)?, key);
        if !key.default.is_empty() {
            assert_eq!(config.get(&key.name)?, key.default, "{}", key.name);
        }
    }
    let backend = Config::describe("backend")?;
    assert_eq!(backend.kind, KeyType::Choice);
    assert!(backend.choices.iter().any(|choice| choice == "gloo"));
    assert_eq!(
        Config::describe("optimizer.lrr").unwrap_err().code(),
        Code::NotFound
    );
    Ok(())
}

#[test]
fn settings_come_from_text_and_files_all_or_nothing() -> Result<()> {
    let folder = TempFolder::new();
    let config = Config::new()?;
    config.load_text("optimizer: {lr: 0.5}\ntrain: {steps: 7}")?;
    std::fs::write(folder.join("recipe.yaml"), "train: {seed: 11}").unwrap();
    config.load(folder.join("recipe.yaml"))?;
    let yaml = config.to_yaml()?;
    let again = Config::new()?;
    again.load_text(&yaml)?;
    assert_eq!(
        (again.get("train.steps")?, again.get("train.seed")?),
        ("7".into(), "11".into())
    );
    assert!(again.load_text("train: {steps: 9, stepps: 1}").is_err());
    assert_eq!(again.get("train.steps")?, "7");
    assert_eq!(again.load(folder.join("none.yaml")).unwrap_err().code(), Code::Io);
    let long = "x".repeat(5000);
    again.set("data.path", &long)?;
    assert_eq!(again.get("data.path")?, long, "text longer than the first buffer");
    assert_eq!(
        again.set("data.path", "a\0b").unwrap_err().message(),
        "value contains a NUL byte"
    );
    Ok(())
}

#[test]
fn tensors_keep_their_elements() -> Result<()> {
    let ints = Tensor::from_vec(vec![1i64, -2, i64::MAX], &[3, 1])?;
    assert_eq!((ints.dtype()?, ints.dims()?), (Dtype::I64, vec![3, 1]));
    assert_eq!(ints.to_vec::<i64>()?, [1, -2, i64::MAX]);
    assert_eq!(
        ints.to_vec::<f64>().unwrap_err().message(),
        "the tensor's elements are I64, not F64"
    );
    assert_eq!(Tensor::from_slice(&[1.5f64], &[])?.to_vec::<f64>()?, [1.5]);
    assert_eq!(Tensor::from_vec(vec![7u8; 4], &[2, 2])?.to_vec::<u8>()?, [7; 4]);
    assert_eq!(Tensor::from_vec(vec![3i32; 4], &[4])?.to_bytes()?.len(), 16);
    assert_eq!(
        Tensor::from_bytes(Dtype::Bf16, &[1], &[0x80, 0x3f])?.to_bytes()?,
        [0x80, 0x3f]
    );
    assert_eq!(Tensor::zeros(Dtype::F32, &[2])?.to_vec::<f32>()?, [0.0; 2]);
    let empty = Tensor::from_vec(Vec::<f32>::new(), &[0, 4])?;
    assert_eq!((empty.dims()?, empty.to_vec::<f32>()?), (vec![0, 4], vec![]));
    for dims in [&[3][..], &[-2, -1], &[i64::MAX, i64::MAX], &[]] {
        assert_eq!(
            Tensor::from_vec(vec![1.0f32; 2], dims).unwrap_err().code(),
            Code::Argument,
            "{dims:?}"
        );
    }
    assert!(
        Tensor::from_vec(vec![1.0f32], &[1; 70]).is_err(),
        "more dims than the library takes"
    );
    let mut short = Tensor::zeros(Dtype::F32, &[2])?;
    assert_eq!(short.set(&[1.0f32]).unwrap_err().code(), Code::Argument);
    Ok(())
}

#[test]
fn tensors_cross_to_other_libraries_without_a_copy() -> Result<()> {
    let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let dlpack = Tensor::from_vec(values.clone(), &[10, 100])?.into_dlpack()?;
    // SAFETY: the pointer was given out for this very use.
    let back = unsafe { Tensor::from_dlpack(dlpack.into_raw()) }?;
    assert_eq!(back.to_vec::<f32>()?, values);
    drop(Tensor::from_vec(values, &[1000])?.into_dlpack()?);
    let mut memory = [1.0f32, 2.0];
    // SAFETY: `memory` outlives the tensor, which no call uses at the end.
    let mut view = unsafe { Tensor::view(Dtype::F32, &[2], memory.as_mut_ptr().cast(), 8) }?;
    view.set(&[5.0f32, 6.0])?;
    drop(view);
    assert_eq!(memory, [5.0, 6.0]);
    Ok(())
}

#[test]
fn batches_shift_labels_inside_documents() -> Result<()> {
    let mut batch = Batch::new()?;
    assert!(batch.is_empty()?);
    batch.push(&[5, 6, 7, 8], Some(&[5, 6, 7, -100]), &[2, 2])?;
    assert_eq!(batch.len()?, 1);
    assert_eq!(batch.array(0, BatchArray::Tokens)?, [5, 6, 7, 8]);
    assert_eq!(batch.array(0, BatchArray::Labels)?, [6, -100, -100, -100]);
    assert_eq!(batch.array(0, BatchArray::Positions)?, [0, 1, 0, 1]);
    assert_eq!(batch.array(0, BatchArray::CuSeqlens)?, [0, 2, 4]);
    assert_eq!(batch.token_counts()?, (4, 1));
    assert!(batch.array(1, BatchArray::Tokens).is_err());
    assert!(batch.push(&[5, 6], None, &[3]).is_err());
    let long: Vec<i64> = (0..5000).map(|i| i % 64).collect();
    batch.push(&long, None, &[5000])?;
    assert_eq!(batch.array(1, BatchArray::Tokens)?, long);
    Ok(())
}

#[test]
fn packers_put_whole_documents_into_packs() -> Result<()> {
    let lengths = [5, 4, 3, 2, 1];
    for packer in [
        Packer::NextFit,
        Packer::FirstFit,
        Packer::FirstFitDecreasing,
        Packer::BestFitDecreasing,
        Packer::WorstFitDecreasing,
        Packer::Optimal,
    ] {
        let packs = pack(packer, &lengths, 5, 1)?;
        assert!((3..=4).contains(&packs.count), "{packer:?}");
        for p in 0..packs.count {
            let held: i64 = lengths
                .iter()
                .zip(&packs.of)
                .filter(|(_, of)| **of == p)
                .map(|(n, _)| n)
                .sum();
            assert!((1..=5).contains(&held));
        }
    }
    assert_eq!(
        pack(Packer::Optimal, &[6], 5, 0).unwrap_err().code(),
        Code::Argument
    );
    let config = Config::new()?
        .with("data.seq_len", 10)?
        .with("data.packing", "next_fit_split")?;
    let pieces = pack_pieces(&config, &[6, 5])?;
    let last = Piece {
        row: 1,
        document: 1,
        begin: 4,
        length: 1,
    };
    assert_eq!((pieces.len(), pieces[2]), (3, last));
    assert!(pack_pieces(&config, &[])?.is_empty());
    Ok(())
}

#[test]
fn packed_documents_have_other_forms() -> Result<()> {
    let mut batch = Batch::new()?;
    let tokens = [5, 6, 7, 0, 8, 9, 0, 0];
    let options = FormOptions::default();
    batch.push_form(BatchForm::Rows, &tokens, &[3, 2], options)?;
    assert_eq!(batch.array(0, BatchArray::Segments)?, [1, 1, 1, 0, 2, 2, 0, 0]);
    let rows = batch.rows(0, 4, 1)?;
    assert_eq!((rows.rows, rows.row_length), (2, 4));
    assert_eq!(rows.tokens, [5, 6, 7, 1, 8, 9, 1, 1]);
    assert_eq!(rows.labels, [-100, 6, 7, -100, -100, 9, -100, -100]);
    let refused = batch.push_form(BatchForm::Positions, &[5, 6], &[0, 2], options);
    assert_eq!(refused.unwrap_err().code(), Code::Argument);
    Ok(())
}

#[test]
fn tokenizers_go_both_ways() -> Result<()> {
    let folder = TempFolder::new();
    let json = r#"{"version": "1.0", "added_tokens": [], "normalizer": null,
      "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null, "truncation": null,
      "padding": null, "model": {"type": "WordLevel", "unk_token": "?",
      "vocab": {"?": 0, "user": 1, "assistant": 2, "hello": 3, "world": 4}}}"#;
    std::fs::write(folder.join("tokenizer.json"), json).unwrap();
    let template = "{% for m in messages %}{{ m['role'] + ' ' + m['content'] + ' ' }}{% endfor %}";
    let config = format!("{{\"chat_template\": \"{template}\"}}");
    std::fs::write(folder.join("tokenizer_config.json"), config).unwrap();
    let tokenizer = match Tokenizer::open(folder.path()) {
        Err(error) if error.code() == Code::Unsupported => return Ok(()), // a library without tokenizers
        opened => opened?,
    };
    assert_eq!(tokenizer.token_count()?, 5);
    assert_eq!(tokenizer.encode("hello world nobody", false)?, [3, 4, 0]);
    assert_eq!(tokenizer.decode(&[3, 4], false)?, "hello world");
    let long = "hello ".repeat(300);
    let several = tokenizer.encode_batch(&["hello world", "", &long, "world"], false)?;
    assert_eq!(several, [vec![3, 4], vec![], vec![3; 300], vec![4]]);
    assert!(tokenizer.encode_batch(&[], false)?.is_empty());
    assert_eq!(tokenizer.encode(&"hello ".repeat(3000), false)?.len(), 3000);
    let chat = r#"[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]"#;
    assert_eq!(
        tokenizer.chat_text(chat, false)?.trim(),
        "user hello assistant world"
    );
    let (tokens, labels) = tokenizer.encode_chat(chat)?;
    assert_eq!(tokens, [1, 3, 2, 4]);
    assert_eq!((labels.len(), labels[3]), (4, 4));
    assert_eq!(labels[1], -100);
    assert!(tokenizer.encode_chat("[{}]").is_err());
    Ok(())
}

#[test]
fn the_log_has_a_level_and_the_library_a_version() -> Result<()> {
    let before = log::level()?;
    log::set_level(log::Level::Error)?;
    assert_eq!(log::level()?, log::Level::Error);
    log::set_level(before)?;
    assert_eq!(
        (Code::PeerFailed.name(), Code::Unknown(999).name()),
        ("E_PEER_FAILED", "E_UNKNOWN")
    );
    assert_eq!(Code::Argument.describe(), "a value that the call cannot accept");
    assert!(tessera::version().starts_with("0."));
    assert_eq!(tessera::abi_version(), tessera::sys::TESSERA_ABI_VERSION);
    assert!(tessera::build_info()?.contains(tessera::version()));
    Ok(())
}
