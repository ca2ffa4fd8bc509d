/** The dashboard as four texts: what `npm run build` makes of the sources in this folder. */

/** The page. It holds no data, no inline script and no inline style. */
export declare const html: string
/** The script, for `/assets/app.js`: an ES module. */
export declare const js: string
/** The style sheet, for `/assets/app.css`. */
export declare const css: string
/** The icon, for `/assets/icon.svg`. */
export declare const icon: string
