// SPDX-License-Identifier: MIT
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Block.CopyBeforeWrite;
using Fleece.Qemu.Guests;
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Graph;

/// <summary>Adds to a QEMU what one disk of a session needs.</summary>
/// <remarks>QEMU's QMP reference has the options: "BlockdevOptionsCbw", "BlockdevOptionsGenericFormat", "BlockExportOptionsNbd". Discards
/// must be passed by every node from the export to the temp file, or a discarded range is never freed.</remarks>
internal sealed class FilterInsertion
{
    private readonly QemuMonitor _monitor;
    private readonly QmpSchema _schema;
    private readonly Guid _instantId;
    private readonly FilterRoute _route;

    /// <summary>Checks the request.</summary>
    /// <exception cref="BlockException"><see cref="QemuErrors.DeviceUnsuitable"/> or <see cref="QemuErrors.FeatureMissing"/>.</exception>
    public FilterInsertion(QemuMonitor monitor, QmpSchema schema, Guid instantId, int diskIndex, FleecingRequest request)
    {
        (_monitor, _schema, _instantId, DiskIndex, Request) = (monitor, schema, instantId, diskIndex, request);
        _route = FilterRoutes.Check(request, schema, monitor);
    }

    /// <summary>What was asked for.</summary>
    public FleecingRequest Request { get; }

    /// <summary>The disk in its session.</summary>
    public int DiskIndex { get; }

    /// <summary>The unit of copying.</summary>
    public int ClusterSizeBytes => Math.Max(FilterRoutes.LeastClusterBytes, Request.GranuleSizeBytes ?? 0);

    private string Root => Request.Disk.Node!.Name;

    /// <summary>Adds the node over the file with old data.</summary>
    public ValueTask AddTempAsync(string path, CancellationToken cancellationToken) => _monitor.AddNodeAsync(
        new JsonObject
        {
            ["driver"] = "raw",
            ["node-name"] = Name(Parts.Temp),
            ["discard"] = "unmap",
            ["file"] = new JsonObject { ["driver"] = "file", ["filename"] = path, ["discard"] = "unmap" },
        },
        cancellationToken);

    /// <summary>Puts a filter under the device.</summary>
    public async ValueTask InsertAsync(CancellationToken cancellationToken)
    {
        if (_route == FilterRoute.BackupJob)
        {
            await _monitor.StartBackupAsync(JobOptions(), cancellationToken).ConfigureAwait(false);
            return;
        }

        await _monitor.AddNodeAsync(FilterOptions(), cancellationToken).ConfigureAwait(false);
        string qdev = Request.Disk.Reply.QomPath!;
        await _monitor.SetDriveAsync(QomProperties.PathOf(qdev), Name(Parts.Filter), cancellationToken).ConfigureAwait(false);
        if (!(await _monitor.QueryDevicesAsync(cancellationToken).ConfigureAwait(false))
            .Any(device => device.QomPath == qdev && device.NodeName == Name(Parts.Filter)))
        {
            throw new BlockException(
                QemuErrors.DeviceUnsuitable,
                $"The QEMU at '{_monitor.SocketPath}' did not put the filter under '{Request.Disk.Device}', so there is no session of it.",
                _monitor.SocketPath);
        }
    }

    /// <summary>Adds the snapshot and its export.</summary>
    public async ValueTask ExportAsync(string exportName, CancellationToken cancellationToken)
    {
        await _monitor.AddNodeAsync(
            new JsonObject
            {
                ["driver"] = "snapshot-access",
                ["node-name"] = Name(Parts.Snapshot),
                ["file"] = Name(Parts.Filter),
                ["discard"] = "unmap",
            },
            cancellationToken).ConfigureAwait(false);
        JsonObject options = new()
        {
            ["type"] = "nbd",
            ["id"] = Name(Parts.Export),
            ["node-name"] = Name(Parts.Snapshot),
            ["name"] = exportName,
            ["writable"] = true,
        };
        if (Request.LimitedBy is { } bitmap)
        {
            options["bitmaps"] = new JsonArray(BitmapOf(bitmap));
        }

        await _monitor.AddExportAsync(options, cancellationToken).ConfigureAwait(false);
    }

    private JsonObject FilterOptions()
    {
        JsonObject options = new()
        {
            ["driver"] = "copy-before-write",
            ["node-name"] = Name(Parts.Filter),
            ["file"] = Root,
            ["target"] = Name(Parts.Temp),
            ["discard"] = "unmap",
        };
        if (Request.OnCopyError == CopyErrorPolicy.BreakSnapshot)
        {
            options["on-cbw-error"] = "break-snapshot";
        }

        if (Request.CopyTimeout is { } timeout)
        {
            options["cbw-timeout"] = (long)timeout.TotalSeconds;
        }

        if (Request.GranuleSizeBytes is { } granuleBytes && granuleBytes > FilterRoutes.LeastClusterBytes)
        {
            options["min-cluster-size"] = granuleBytes;
        }

        if (Request.LimitedBy is { } bitmap)
        {
            options["bitmap"] = BitmapOf(bitmap);
        }

        return options;
    }

    private JsonObject JobOptions()
    {
        JsonObject options = new()
        {
            ["job-id"] = Name(Parts.Job),
            ["device"] = Root,
            ["target"] = Name(Parts.Temp),
            ["sync"] = "none",
            ["filter-node-name"] = Name(Parts.Filter),
        };
        if (Request.OnCopyError == CopyErrorPolicy.BreakSnapshot && _schema.HasMember("blockdev-backup", "on-cbw-error"))
        {
            options["on-cbw-error"] = "break-snapshot";
        }

        return options;
    }

    private JsonObject BitmapOf(string name) => new() { ["node"] = Root, ["name"] = name };

    private string Name(string part) => NodeNames.Of(_instantId, DiskIndex, part);
}
