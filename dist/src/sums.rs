//! `SHA256SUMS`, which `sha256sum --check` reads, and its signature, which `minisign -V` checks.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use minisign::SecretKeyBox;
use sha2::{Digest, Sha256};

/// The list of digests.
pub const FILE: &str = "SHA256SUMS";

/// Where the password of a secret key is read from; keys without a password need none.
pub const PASSWORD: &str = "LLMC_SIGN_PASSWORD";

/// Bytes as small hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of a file.
///
/// # Errors
///
/// When it cannot be read.
pub fn sha256_of_file(file: &Path) -> Result<String> {
    let bytes = fs::read(file).with_context(|| format!("failed to read `{}`", file.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Writes the list of the named files and returns its own name.
///
/// # Errors
///
/// When a file cannot be read or the list cannot be written.
pub fn write(folder: &Path, names: &[String]) -> Result<String> {
    let mut names: Vec<_> = names.iter().collect();
    names.sort_unstable();
    let line = |name: &&String| Ok(format!("{}  {name}\n", sha256_of_file(&folder.join(name))?));
    let text: String = names.iter().map(line).collect::<Result<_>>()?;
    fs::write(folder.join(FILE), text).with_context(|| format!("failed to write `{FILE}`"))?;
    Ok(FILE.to_owned())
}

/// Signs the list and returns the name of the signature.
///
/// # Errors
///
/// When the key cannot be read, or its password is missing or wrong.
pub fn sign(folder: &Path, key: &Path, epoch: u64) -> Result<String> {
    let text = crate::read(key)?;
    let boxed = || SecretKeyBox::from_string(&text);
    // A key without a password is tried first: for one with a password this fails at once.
    let secret = match (boxed()?.into_unencrypted_secret_key(), env::var(PASSWORD)) {
        (Ok(secret), _) => secret,
        (Err(_), Ok(password)) => boxed()?
            .into_secret_key(Some(password))
            .with_context(|| format!("`{PASSWORD}` does not open `{}`", key.display()))?,
        (Err(_), Err(_)) => {
            anyhow::bail!("`{}` has a password, or is no key of minisign; set `{PASSWORD}`", key.display())
        }
    };
    let list = fs::read(folder.join(FILE)).with_context(|| format!("failed to read `{FILE}`"))?;
    let trusted = format!("timestamp:{epoch}\tfile:{FILE}\thashed");
    let signature =
        minisign::sign(None, &secret, &*list, Some(&trusted), Some("signature of the llmc packages"))?;
    let name = format!("{FILE}.minisig");
    fs::write(folder.join(&name), signature.into_string())
        .with_context(|| format!("failed to write `{name}`"))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::{KeyPair, SignatureBox};

    use super::*;

    #[test]
    fn a_signature_holds_for_the_list_and_for_no_other() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("b"), "abc").unwrap();
        fs::write(folder.path().join("a"), "").unwrap();
        write(folder.path(), &["b".into(), "a".into()]).unwrap();
        let list = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(
            list,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
            ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
        );

        let pair = KeyPair::generate_unencrypted_keypair().unwrap();
        let key = folder.path().join("key");
        fs::write(&key, pair.sk.to_box(None).unwrap().into_string()).unwrap();
        let name = sign(folder.path(), &key, 7).unwrap();
        let signature = fs::read_to_string(folder.path().join(name)).unwrap();
        let signature = SignatureBox::from_string(&signature).unwrap();
        assert!(minisign::verify(&pair.pk, &signature, Cursor::new(&list), true, false, false).is_ok());
        let other = list.replace("  a", "  c");
        assert!(minisign::verify(&pair.pk, &signature, Cursor::new(other), true, false, false).is_err());
    }

    #[test]
    fn what_is_no_key_does_not_sign() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        fs::write(&key, "untrusted comment: nothing\nAAAA\n").unwrap();
        assert!(sign(folder.path(), &key, 7).is_err());
        assert!(!folder.path().join("SHA256SUMS.minisig").exists());
    }
}
