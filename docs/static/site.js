// An explorer is as light or dark as its page, as high as what it shows, and loaded when it comes
// near the screen, or goes to the printer
document.addEventListener('DOMContentLoaded', () => {
  // Paper is white; an explorer prints itself so, and must not be loaded anew for that
  const {dataset} = document.documentElement
  let printed = null
  addEventListener('beforeprint', () => {
    printed = dataset.theme
    dataset.theme = 'light'
  })
  addEventListener('afterprint', () => {
    dataset.theme = printed
    setTimeout(() => { printed = null })
  })
  for (const frame of document.querySelectorAll('figure.explorer iframe')) {
    let wanted = false
    const dress = () => {
      if (wanted && printed === null) frame.src = `${frame.dataset.src}?theme=${dataset.theme}`
    }
    const load = () => {
      if (wanted) return
      wanted = true
      dress()
    }
    const fit = () => {
      frame.style.height = `${frame.contentDocument.documentElement.offsetHeight}px`
    }
    frame.addEventListener('load', () => {
      const page = frame.contentDocument
      if (page) new ResizeObserver(fit).observe(page.documentElement)
    })
    new MutationObserver(dress).observe(document.documentElement, {attributeFilter: ['data-theme']})
    const near = new IntersectionObserver(entries => {
      if (!entries.some(entry => entry.isIntersecting)) return
      near.disconnect()
      load()
    }, {rootMargin: '300px'})
    near.observe(frame)
    addEventListener('beforeprint', load)
  }
  // What the theme leaves without a name
  const sidebar = document.getElementById('pst-primary-sidebar')
  sidebar?.setAttribute('role', 'complementary')
  sidebar?.setAttribute('aria-label', 'Site')
  for (const summary of document.querySelectorAll('#pst-primary-sidebar summary')) {
    const name = summary.closest('li').querySelector('a').textContent.trim()
    summary.setAttribute('aria-label', `Pages below ${name}`)
  }
  // Formulas that are wider than the screen can be moved with the keyboard
  addEventListener('load', () => window.MathJax?.startup?.promise.then(() => {
    for (const formula of document.querySelectorAll('mjx-container[display]')) {
      if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0
    }
  }))
})
