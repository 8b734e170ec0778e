{{- define "name" -}}
gardener-extension-registry-spegel-admission
{{- end -}}

{{- define "priorityClassName" -}}
{{ .Values.gardener.runtimeCluster.priorityClassName }}
{{- end -}}

{{- define "prometheus" -}}
garden
{{- end -}}
