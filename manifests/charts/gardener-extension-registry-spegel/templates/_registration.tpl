{{- /* The webhook for the API servers; with caBundle unless the controller adds that. */ -}}
{{- define "registration" -}}
{{- /* The webhook's own default names a release. What all nodes are to run is for an operator to say. */ -}}
{{- $_ := required "settings.daemonImage is required: the image that holds the program for the nodes, which each node pulls without credentials" .Values.settings.daemonImage -}}
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata:
  # API servers call configurations in the order of their names. This one must come after those that
  # write registries into the OperatingSystemConfig: gardener-extension-registry-cache (registry-cache
  # and registry-mirror) and gardener-extension-image-rewriter.
  name: {{ include "name" . }}
  labels:
    {{- include "labels" . | nindent 4 }}
    remediation.webhook.shoot.gardener.cloud/exclude: "true"
webhooks:
- name: registry-spegel.extensions.gardener.cloud
  admissionReviewVersions:
  - v1
  clientConfig:
    {{- if not (include "isKept" .) }}
    caBundle: {{ required "tls.caBundle is required: the CA certificates (PEM) that signed the certificate in tls.secretName" .Values.tls.caBundle | b64enc }}
    {{- end }}
    service:
      name: {{ include "name" . }}
      namespace: {{ .Release.Namespace }}
      port: 443
      path: /webhooks/registry-spegel
  rules:
  - apiGroups:
    - extensions.gardener.cloud
    apiVersions:
    - v1alpha1
    resources:
    - operatingsystemconfigs
    operations:
    - CREATE
    - UPDATE
    scope: Namespaced
  namespaceSelector:
    # gardenlet labels the namespaces of the shoots that use the extension.
    matchExpressions:
    - key: extensions.gardener.cloud/registry-spegel
      operator: In
      values:
      - "true"
  failurePolicy: Fail
  matchPolicy: Exact
  # Called once more when a later webhook changed the object.
  reinvocationPolicy: IfNeeded
  sideEffects: None
  timeoutSeconds: 10
{{- end -}}
