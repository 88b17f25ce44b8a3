//! The pages, part of this program: nothing is fetched from anywhere else.

/// A file of the console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asset {
    pub(crate) path: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) content: &'static str,
}

/// All of them.
pub(crate) const ASSETS: &[Asset] = &[
    Asset {
        path: "/console",
        media_type: "text/html; charset=utf-8",
        content: include_str!("assets/index.html"),
    },
    Asset {
        path: "/console/app.css",
        media_type: "text/css; charset=utf-8",
        content: include_str!("assets/app.css"),
    },
    Asset {
        path: "/console/app.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("assets/app.js"),
    },
    Asset {
        path: "/console/charts.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("assets/charts.js"),
    },
    Asset {
        path: "/console/text.js",
        media_type: "text/javascript; charset=utf-8",
        content: include_str!("assets/text.js"),
    },
    Asset {
        path: "/console/icon.svg",
        media_type: "image/svg+xml",
        content: include_str!("assets/icon.svg"),
    },
];

/// What a browser may do with them: scripts, styles and requests of this server alone, nothing inline, no markup made
/// from text (trusted types), in no frame.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_and_ask_nobody_else() {
        for Asset { path, content, .. } in ASSETS {
            let foreign = content.split("http").skip(1).find(|rest| {
                (rest.starts_with("://") || rest.starts_with("s://"))
                    && !rest.starts_with("://www.w3.org/2000/svg")
            });
            assert_eq!(foreign, None, "{path}");
            for inline in
                ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", " style=", "onclick"]
            {
                assert!(!content.contains(inline), "{path}: {inline}");
            }
        }
        let page = ASSETS[0].content;
        for named in page.split("=\"/console/").skip(1) {
            let name = named.split('"').next().unwrap();
            assert!(ASSETS.iter().any(|asset| asset.path == format!("/console/{name}")), "{name}");
        }
    }
}
