// An explorer is as light or dark as its page, and as high as what it shows
document.addEventListener('DOMContentLoaded', () => {
  for (const frame of document.querySelectorAll('figure.explorer iframe')) {
    const dress = () => {
      frame.src = `${frame.dataset.src}?theme=${document.documentElement.dataset.theme}`
    }
    const fit = () => {
      frame.style.height = `${frame.contentDocument.documentElement.offsetHeight}px`
    }
    frame.addEventListener('load', () => {
      const page = frame.contentDocument
      if (page) new ResizeObserver(fit).observe(page.documentElement)
    })
    new MutationObserver(dress).observe(document.documentElement, {attributeFilter: ['data-theme']})
    dress()
  }
})
