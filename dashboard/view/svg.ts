/** The server's drawing as elements of this page: only what a drawing is made of is taken over, the rest is left behind. */

const elements = new Set([
  "svg",
  "g",
  "rect",
  "path",
  "circle",
  "ellipse",
  "line",
  "polygon",
  "polyline",
  "text",
  "tspan",
  "title",
  "desc"
])

const attributes = new Set([
  "class",
  "viewBox",
  "width",
  "height",
  "x",
  "y",
  "x1",
  "x2",
  "y1",
  "y2",
  "dx",
  "dy",
  "cx",
  "cy",
  "r",
  "rx",
  "ry",
  "d",
  "points",
  "transform",
  "fill",
  "fill-opacity",
  "stroke",
  "stroke-width",
  "stroke-dasharray",
  "stroke-linejoin",
  "stroke-linecap",
  "stroke-opacity",
  "opacity",
  "font-size",
  "font-weight",
  "font-family",
  "text-anchor",
  "dominant-baseline",
  "textLength",
  "lengthAdjust",
  "paint-order",
  "data-node",
  "data-kind",
  "data-from",
  "data-to",
  "data-flow"
])

export const namespace = "http://www.w3.org/2000/svg"

/** Undefined where the text is no SVG. */
export const svgIn = (text: string): SVGSVGElement | undefined => {
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement
  if (root.localName !== "svg" || root.namespaceURI !== namespace) return undefined
  const taken = take(root)
  return taken instanceof SVGSVGElement ? taken : undefined
}

// ----------------------------------------------------------------------------------------------------------- internals

const take = (element: Element): SVGElement => {
  const copy = document.createElementNS(namespace, element.localName)
  for (const { name, value } of element.attributes) {
    // No address may hide in a colour.
    if (attributes.has(name) && !/url\s*\(/i.test(value)) copy.setAttribute(name, value)
  }
  for (const child of element.childNodes) {
    if (child instanceof Text) copy.append(child.data)
    else if (child instanceof Element && child.namespaceURI === namespace && elements.has(child.localName)) {
      copy.append(take(child))
    }
  }
  return copy
}
