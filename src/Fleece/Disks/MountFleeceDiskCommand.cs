// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece;

/// <summary>Mount-FleeceDisk: opens image files or NBD exports as live disks, and offers them over NBD.</summary>
[Cmdlet(VerbsData.Mount, "FleeceDisk", DefaultParameterSetName = PathSet, SupportsShouldProcess = true)]
[OutputType(typeof(DiskInfo))]
public sealed class MountFleeceDiskCommand : ListeningCommand
{
    private const string PathSet = "Path";
    private const string LiteralPathSet = "LiteralPath";

    /// <summary>Image files, wildcards allowed, or URIs of NBD exports.</summary>
    [Parameter(
        Mandatory = true, Position = 0, ValueFromPipeline = true, ValueFromPipelineByPropertyName = true, ParameterSetName = PathSet)]
    [SupportsWildcards]
    [ItemPath]
    public string[] Path { get; set; } = [];

    /// <summary>Image files or URIs of NBD exports, taken as they are.</summary>
    [Parameter(Mandatory = true, ValueFromPipelineByPropertyName = true, ParameterSetName = LiteralPathSet)]
    [Alias("PSPath", "FullName")]
    public string[] LiteralPath { get; set; } = [];

    /// <summary>The disk's name; by default the file's name without its extension. For one file only.</summary>
    [Parameter]
    public string? Name { get; set; }

    /// <summary>The format, where the content must not decide it.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    public ImageFormat? Format { get; set; }

    /// <summary>Refuse guest writes. A backup can only be mounted so.</summary>
    [Parameter]
    public SwitchParameter ReadOnly { get; set; }

    /// <summary>Others may write to the disk as well: sessions and full backups are allowed though their point in time is not guaranteed.
    /// </summary>
    [Parameter]
    public SwitchParameter Shared { get; set; }

    /// <summary>The internal snapshot of a qcow2 image to mount, by name or id; read-only.</summary>
    [Parameter]
    public string? SnapshotName { get; set; }

    /// <summary>Most memory for the image's cached metadata tables, in bytes.</summary>
    [Parameter]
    [ValidateRange(1, long.MaxValue)]
    public long? MetadataCacheBytes { get; set; }

    /// <summary>Offer the disk and its snapshots over NBD at these addresses.</summary>
    [Parameter]
    public string[] ListenUri { get; set; } = [];

    /// <summary>Use a data file that lies outside the folder of the image that names it.</summary>
    [Parameter]
    public SwitchParameter AllowOutsideDataFile { get; set; }

    /// <summary>Treat the images as from a stranger: refuse files that they name outside their folder, and bound sizes and time.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    /// <summary>Give up the sessions that wait for the image to be mounted again; their old data goes, and their bitmaps lose nothing.
    /// </summary>
    [Parameter]
    public SwitchParameter DiscardSessions { get; set; }

    /// <inheritdoc/>
    protected override void ProcessRecord()
    {
        bool isLiteral = ParameterSetName == LiteralPathSet;
        ForEachFile(
            isLiteral ? LiteralPath : Path, isLiteral, MountFile, takesUris: true, forOne: Name is null ? null : nameof(Name));
    }

    // A marker that only the host's user may read names none here; the host's warnings do.
    private static string NameSessions(string file)
    {
        IReadOnlyList<MarkedSession> sessions = [];
        try
        {
            sessions = NbdUri.IsUri(file) ? [] : SessionMarker.Read(file)?.Sessions ?? [];
        }
        catch (BlockException)
        {
            // The mount says why.
        }

        return sessions.Count == 0 ? "its sessions" : $"the sessions {string.Join(", ", sessions.Select(session => $"'{session.Name}'"))}";
    }

    private void MountFile(string file)
    {
        if (!ShouldProcess(file, DiscardSessions ? $"Mount, and give up {NameSessions(file)}" : "Mount"))
        {
            return;
        }

        bool isExport = NbdUri.IsUri(file);
        MountRequest request = new()
        {
            Address = file,
            Name = Name,
            Format = Format,
            IsReadOnly = ReadOnly,
            IsShared = Shared,
            SnapshotName = SnapshotName,
            MetadataCacheBytes = MetadataCacheBytes,
            AllowsOutsideDataFile = AllowOutsideDataFile,
            IsUntrusted = Untrusted,
            DiscardsSessions = DiscardSessions,
            Tls = isExport ? RequestedTls : null,

            // The certificate may be meant for the disk's server, or for another of the addresses.
            Listeners = [.. ListenUri.Select(uri => ListenAt(uri, NbdUri.Parse(uri).IsTls ? RequestedTls : null))],
        };
        DiskInfo disk = Wait(Owner.Disks.MountAsync(request, StopToken));
        TellRawByName(file, nameof(Format), Format, disk.Format);
        if (isExport && disk.IsReadOnly && !ReadOnly && SnapshotName is null)
        {
            WriteWarning($"{disk.Name}: '{file}' can only be read, so the disk is mounted read-only. -ReadOnly says that this is meant.");
        }

        DiskNotes.Tell(this, disk);

        WriteObject(disk);
    }
}
