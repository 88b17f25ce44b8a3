//! Packages that the operator binds into code jails: a real virtual environment, with a wheel that is made here.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::ground::CANARY;
use crate::prerequisites::not_checked;
use crate::support::{Server, Setup};

/// Where `execute_code` finds its interpreter; the environment is made with the same one.
const PYTHON: &str = "/usr/bin/python3";

/// Makes a wheel as build tools do: an archive with the package and what is known of it.
const MAKE_WHEEL: &str = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("tiny/__init__.py", "from importlib import resources\nVALUE = 42\ndef text():\n    return resources.files('tiny').joinpath('data.txt').read_text()\n")
    wheel.writestr("tiny/data.txt", "from a package")
    wheel.writestr("json.py", "raise SystemExit('the standard library was replaced')")
    wheel.writestr("tiny-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.2.3\n")
    wheel.writestr("tiny-1.2.3.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    wheel.writestr("tiny-1.2.3.dist-info/RECORD", "")
    wheel.writestr("started.pth", "import sys; sys.exit('a line of a .pth file was run')")
"#;

fn python(args: &[&str]) -> String {
    let output = Command::new(PYTHON).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A virtual environment with the wheel in it; its `site-packages`.
fn environment(folder: &Path) -> PathBuf {
    let (venv, wheel) = (folder.join("venv"), folder.join("tiny-1.2.3-py3-none-any.whl"));
    python(&["-m", "venv", "--without-pip", venv.to_str().unwrap()]);
    python(&["-c", MAKE_WHEEL, wheel.to_str().unwrap()]);
    let own = Command::new(venv.join("bin/python"))
        .args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
        .output()
        .unwrap();
    let packages = PathBuf::from(String::from_utf8(own.stdout).unwrap().trim());
    assert!(packages.starts_with(&venv), "{packages:?}");
    python(&["-m", "zipfile", "-e", wheel.to_str().unwrap(), packages.to_str().unwrap()]);
    packages
}

fn is_there() -> bool {
    let is_there = Path::new(PYTHON).exists();
    if !is_there {
        not_checked(&format!("packages of a virtual environment, because there is no {PYTHON}"));
    }
    is_there
}

fn config(profile: &str, packages: &str) -> String {
    let library = if profile == "code" { "exec" } else { "cmd" };
    format!(
        "[plugins.{library}]\nlibrary = 'llmc_tools_{library}'\n\
         grants = {{ run = {{ profile = '{profile}', packages = [{packages}] }} }}"
    )
}

fn serve(packages: &Path) -> Server {
    Setup::new(&config("code", &format!("{packages:?}"))).serve()
}

fn result_of(server: &mut Server, code: &str) -> Value {
    server.call("execute_code", json!({"code": code})).ok()["result"].clone()
}

#[test]
fn packages_of_a_virtual_environment_can_be_imported() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let packages = environment(folder.path());
    let mut server = serve(&packages);
    let code = "import json, sys, tiny\nfrom importlib.metadata import version\n\
                [tiny.VALUE, tiny.text(), version('tiny'), json.dumps([1]), sys.path[-1]]";
    let expected = json!([42, "from a package", "1.2.3", "[1]", packages.canonicalize().unwrap()]);
    assert_eq!(result_of(&mut server, code), expected);
    server.stop();

    // The neighbour: without the grant there is nothing of it.
    let mut server = Setup::new(&config("code", "")).serve();
    let code =
        "try:\n    import tiny\nexcept ModuleNotFoundError as error:\n    outcome = error.name\noutcome";
    assert_eq!(result_of(&mut server, code), "tiny");
    server.stop();
}

#[test]
fn packages_are_read_only_and_show_nothing_beside_them() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let packages = environment(folder.path());
    std::fs::write(folder.path().join("canary"), CANARY).unwrap();
    std::os::unix::fs::symlink(folder.path().join("canary"), packages.join("link")).unwrap();
    std::fs::copy("/bin/true", packages.join("program")).unwrap();
    let mut server = serve(&packages);
    let code = r#"
import errno, os
def attempt(act, *args):
    try:
        act(*args)
        return "OK"
    except OSError as error:
        return errno.errorcode[error.errno]
place = PLACE
flags = os.statvfs(place).f_flag
{
    "write": [attempt(open, place + "/new.py", "w"), attempt(open, place + "/tiny/__init__.py", "a"), attempt(os.mkdir, place + "/d"), attempt(os.unlink, place + "/json.py")],
    "beside": [attempt(open, FOLDER + "/canary"), attempt(os.listdir, FOLDER + "/venv/bin"), attempt(open, FOLDER + "/venv/pyvenv.cfg"), attempt(open, place + "/link")],
    "execute": [attempt(os.execv, place + "/program", ["program"])],
    "flags": [bool(flags & os.ST_RDONLY), bool(flags & os.ST_NOSUID), bool(flags & os.ST_NODEV)],
    "read": attempt(open, place + "/tiny/data.txt"),
}
"#;
    let quoted = |path: &Path| format!("{:?}", path.canonicalize().unwrap());
    let code = code.replace("PLACE", &quoted(&packages)).replace("FOLDER", &quoted(folder.path()));
    let result = result_of(&mut server, &code);
    let all = |name: &str, allowed: &[&str]| {
        let outcomes = result[name].as_array().unwrap();
        assert!(
            outcomes.iter().all(|outcome| allowed.contains(&outcome.as_str().unwrap())),
            "{name}: {result}"
        );
    };
    all("write", &["EROFS", "EACCES"]);
    all("beside", &["ENOENT", "EACCES"]);
    all("execute", &["EACCES"]);
    assert_eq!((&result["flags"], &result["read"]), (&json!([true, true, true]), &json!("OK")), "{result}");
    server.stop();
}

#[test]
fn packages_that_cannot_be_granted_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, file) = (folder.path().join("missing"), folder.path().join("file"));
    std::fs::write(&file, "").unwrap();
    for (profile, packages, part) in [
        ("code", format!("{missing:?}"), "cannot be found"),
        ("code", format!("{file:?}"), "not a directory"),
        ("code", "'venv/lib/python3/site-packages'".into(), "not an absolute path"),
        ("code", "'/'".into(), "more than packages"),
        ("code", "'/etc'".into(), "more than packages"),
        ("workspace", "'/usr/lib'".into(), "goes with profile \"code\""),
    ] {
        let output = Setup::new(&config(profile, &packages)).run("tools", &[]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{packages}: {output:?}");
        assert!(stderr.contains(part), "{packages}: {stderr}");
    }
    let output = Setup::new(&config("code", &format!("{:?}", folder.path()))).run("tools", &[]);
    assert!(output.status.success(), "an empty directory will do: {output:?}");
}

/// What a model writes to look at a table: libraries are loaded, threads started, much memory mapped.
const ANALYSIS: &str = r#"
import numpy as np
import pandas as pd

sales = pd.read_csv("in/sales.csv", parse_dates=["day"])
sales["total"] = sales.price * sales.pieces
by_town = sales.groupby("town").agg(total=("total", "sum"), best=("total", "max"), days=("day", "nunique"))
described = sales.total.describe()
wide = sales.pivot_table(index="day", columns="town", values="total", aggfunc="sum", fill_value=0)
slope, intercept = np.polyfit([0, 1, 2], wide.sum(axis=1).to_numpy(), 1)
wide.to_csv("out.csv")
print(by_town)
{
    "towns": {town: row.tolist() for town, row in by_town.iterrows()},
    "described": [described["count"], described["mean"], round(described["std"], 6), described["max"]],
    "slope": round(float(slope), 6),
    "days": [str(day.date()) for day in wide.index],
    "missing": int(sales.isna().sum().sum()),
    "file": [pd.read_csv("out.csv").shape, sales.day.dtype.kind],
}
"#;
const SALES: &str = "day,town,price,pieces\n2024-01-01,Bonn,2.5,4\n2024-01-01,Kiel,1.5,2\n\
                     2024-01-02,Bonn,2.5,8\n2024-01-03,Kiel,10,1\n2024-01-03,Bonn,5,6\n";

/// Calculations in the compiled parts of numpy.
const NUMBERS: &str = "import numpy as np\na = np.arange(10000.0).reshape(100, 100) + 100 * np.eye(100)\n\
    [float(round((a @ np.linalg.inv(a)).trace())), float(np.fft.fft(np.ones(8)).real[0]), len(np.random.default_rng(1).random(1000))]";

/// The directory with numpy and pandas: what `cargo xtask test` installed, else the interpreter's own, if it has both.
fn numbers() -> Option<PathBuf> {
    let find = "import importlib.util as u, os\nspecs = [u.find_spec('numpy'), u.find_spec('pandas')]\n\
                print(os.path.dirname(os.path.dirname(specs[0].origin)) if all(specs) else '')";
    let named = std::env::var("LLMC_NUMPY").unwrap_or_default();
    let found = if named.is_empty() && is_there() { python(&["-c", find]) } else { named };
    if found.is_empty() {
        not_checked(
            "numpy and pandas in a code jail: they are not installed (`cargo xtask test` installs them; \
             LLMC_NUMPY can name a `site-packages` with both)",
        );
        return None;
    }
    Some(found.into())
}

#[test]
fn numpy_and_pandas_analyse_a_table() {
    let Some(packages) = numbers() else { return };
    let mut server = serve(&packages);
    assert_eq!(result_of(&mut server, NUMBERS), json!([100.0, 8.0, 1000]));
    let files = json!([{"path": "in/sales.csv", "text": SALES}]);
    let called = server.call("execute_code", json!({"code": ANALYSIS, "files": files}));
    let expected = json!({
        "towns": {"Bonn": [60.0, 30.0, 3.0], "Kiel": [13.0, 10.0, 2.0]},
        "described": [5.0, 14.6, 10.526158, 30.0],
        "slope": 13.5,
        "days": ["2024-01-01", "2024-01-02", "2024-01-03"],
        "missing": 0,
        "file": [[3, 3], "M"],
    });
    assert_eq!(called.ok()["result"], expected, "{called:?}");
    let stdout = called.ok()["stdout"].as_str().unwrap();
    assert!(stdout.contains("Bonn") && called.ok()["isolation"] == "namespaces", "{called:?}");
    // What is granted is still no way out: the packages are read-only.
    let code = "import os, numpy\nplace = os.path.dirname(numpy.__file__)\ndef attempt(*args):\n    try:\n        open(*args)\n        return 'OK'\n    \
                except OSError as error:\n        return type(error).__name__\n[attempt(place + '/new.py', 'w'), attempt(place + '/__init__.py', 'a'), attempt(place + '/__init__.py')]";
    let outcomes = result_of(&mut server, code);
    assert!(outcomes[0] != "OK" && outcomes[1] != "OK" && outcomes[2] == "OK", "{outcomes}");
    server.stop();

    // The neighbour: without the grant neither is there.
    let mut server = Setup::new(&config("code", "")).serve();
    let code =
        "import importlib.util\n[importlib.util.find_spec(name) is None for name in ('numpy', 'pandas')]";
    assert_eq!(result_of(&mut server, code), json!([true, true]));
    server.stop();
}
