// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Guests;

/// <summary>Which devices a thread of their own serves.</summary>
internal static class IoThreads
{
    private const string Mapping = "iothread-vq-mapping";

    // A disk of a SCSI controller behind a few PCI bridges has some ten devices and buses above it.
    private const int MaximumDepth = 32;

    /// <summary>True where QEMU has any.</summary>
    public static async ValueTask<bool> ExistAsync(QemuMonitor monitor, CancellationToken cancellationToken)
    {
        JsonElement reply = await monitor.AskAsync("query-iothreads", null, cancellationToken).ConfigureAwait(false);
        return reply.ValueKind == JsonValueKind.Array && reply.GetArrayLength() > 0;
    }

    /// <summary>The thread that serves a device, or its controller; null for QEMU's main loop.</summary>
    public static async ValueTask<string?> FindAsync(QemuMonitor monitor, string qomPath, CancellationToken cancellationToken)
    {
        string? path = qomPath;
        for (int depth = 0; path is not null && depth < MaximumDepth; depth++)
        {
            if (await QomProperties.FindTextAsync(monitor, path, "iothread", cancellationToken).ConfigureAwait(false) is { } thread)
            {
                return thread[(thread.LastIndexOf('/') + 1)..];
            }

            if (await QomProperties.FindAsync(monitor, path, Mapping, cancellationToken).ConfigureAwait(false)
                is { ValueKind: JsonValueKind.Array } mapping && mapping.GetArrayLength() > 0)
            {
                return Mapping;
            }

            string? bus = await QomProperties.FindTextAsync(monitor, path, "parent_bus", cancellationToken).ConfigureAwait(false);
            path = bus?.LastIndexOf('/') is { } end and > 0 ? bus[..end] : null;
        }

        return null;
    }
}
