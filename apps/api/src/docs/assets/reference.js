/* global SwaggerUIBundle -- comes from swagger-ui-bundle.js, which the page loads before. */

const dark = matchMedia('(prefers-color-scheme: dark)')
const showScheme = () => document.documentElement.classList.toggle('dark-mode', dark.matches)
dark.addEventListener('change', showScheme)
showScheme()

const answer = await fetch('/openapi.json')
const spec = await answer.json()
// Requests go to the server that this page came from, by whatever name it was reached.
spec.servers = [{ url: location.origin }]

SwaggerUIBundle({
  spec,
  domNode: document.querySelector('#reference'),
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  docExpansion: 'list',
  validatorUrl: null,
})
