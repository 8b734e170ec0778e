{{- define "name" -}}
gardener-extension-registry-spegel
{{- end -}}

{{- define "priorityClassName" -}}
gardener-system-900
{{- end -}}

{{- define "prometheus" -}}
seed
{{- end -}}
