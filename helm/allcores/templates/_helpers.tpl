{{/* The name of everything. */}}
{{- define "allcores.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "allcores.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "allcores.labels" -}}
{{ include "allcores.selector" . }}
{{- with .Values.image.tag }}
app.kubernetes.io/version: {{ . | trunc 63 | trimAll "-_." | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "allcores.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "allcores.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{/* A reference to an image. Takes a list: the image's values, and the tag that counts when they have none. */}}
{{- define "allcores.image" -}}
{{- $image := index . 0 }}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ $image.tag | default (index . 1) }}
{{- end }}
{{- end }}

{{/* Where the binary is in the application's container. */}}
{{- define "allcores.binary" -}}
{{- eq .Values.allcores.from "image" | ternary .Values.allcores.path "/opt/allcores/allcores" }}
{{- end }}

{{/*
A setting's value as the text that allcores reads. YAML takes a bare `off` for a boolean, and Helm every number for a
fraction.
*/}}
{{- define "allcores.text" -}}
{{- if kindIs "bool" . }}{{ ternary "on" "off" . }}
{{- else if kindIs "invalid" . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) }}{{ printf "%.0f" . }}
{{- else }}{{ . | toString | trim }}
{{- end }}
{{- end }}

{{/* The settings that are not empty, as JSON: what the values say, and what follows from them. */}}
{{- define "allcores.settings" -}}
{{- $settings := dict }}
{{- range $name, $value := .Values.settings }}
{{- with include "allcores.text" $value }}{{ $_ := set $settings $name . }}{{ end }}
{{- end }}
{{- if and .Values.config.files (eq .Values.config.onChange "reload") }}
{{- $_ := set $settings "RELOAD_ON_CHANGE" (list $settings.RELOAD_ON_CHANGE .Values.config.mountPath | compact | join ",") }}
{{- end }}
{{- $settings | toJson }}
{{- end }}

{{/* The port of allcores' own server as others can reach it; nothing when they cannot. */}}
{{- define "allcores.httpPort" -}}
{{- with (include "allcores.settings" . | fromJson).HTTP }}
{{- if not (regexMatch "^(tcp://)?(127\\.|\\[::1\\])" .) }}{{ regexFind "[0-9]+$" . }}{{ end }}
{{- end }}
{{- end }}

{{/* A probe. Takes a list: the root, its name for HTTP, its name for `ctl check`, and what the values say of it. */}}
{{- define "allcores.probe" -}}
{{- $root := index . 0 }}
{{- if include "allcores.httpPort" $root -}}
httpGet:
  path: /{{ index . 1 }}
  port: allcores
{{- else -}}
exec:
  command: [{{ include "allcores.binary" $root | quote }}, ctl, check, {{ index . 2 }}]
{{- end }}
{{ index . 3 | toYaml }}
{{- end }}
