// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.State;

namespace Fleece.Hosting.Host;

/// <summary>Disks and exports that were taken away while the state directory could not be written: the next host would serve them again.
/// </summary>
/// <remarks>Each change that is stored later, and the orderly end of the host, leaves them out, because state.json is written whole.
/// Threading. All members are safe from any thread.</remarks>
internal sealed class UnstoredRemovals(HostState state)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, ExportInfo> _exports = [];

    /// <summary>Disks and exports that the next host would serve and should not; whole sentences.</summary>
    public IReadOnlyList<string> Problems =>
    [
        .. state.Stored.SelectMany(stored => FindKept(stored.Name) is { } kept
            ? stored.Mount.Listeners
                .Where(listener => kept.Mount.Listeners.All(other => other.ListenUri != listener.ListenUri))
                .Select(listener => Describe(listener.ListenUri, stored.Name))
            : [Describe(stored)]),
    ];

    /// <summary>A disk that is dismounted and still stored; null for none.</summary>
    public MountedDiskState? Find(string name) => FindKept(name) is null
        ? state.Stored.FirstOrDefault(stored => Is(stored, name))
        : null;

    /// <summary>A sentence about the disk of that name, if it is dismounted and still stored; null if not.</summary>
    public string? FindProblem(string name) => Find(name) is { } stored ? Describe(stored) : null;

    /// <summary>An export that was taken away and could not be forgotten; null for none.</summary>
    public ExportInfo? FindExport(Guid exportId)
    {
        lock (_lock)
        {
            // Another export may be published at the address since.
            return _exports.GetValueOrDefault(exportId) is { } export &&
                FindKept(export.Disk)?.Mount.Listeners.Any(listener => listener.ListenUri == export.Uri.ToString()) != true
                    ? export
                    : null;
        }
    }

    /// <summary>Forgets a disk that is dismounted.</summary>
    /// <exception cref="BlockException">Why that can't be stored, and how to have it stored.</exception>
    public void Store(DiskInfo dismounted)
    {
        try
        {
            state.Remove(dismounted.Name);
        }
        catch (BlockException e)
        {
            throw Unstored(e, DescribeDisk(dismounted.Name, dismounted.Path), AdviceFor(dismounted.Name));
        }
    }

    /// <summary>Forgets an export that was taken away.</summary>
    /// <inheritdoc cref="Store(DiskInfo)" path="/exception"/>
    public void Store(ExportInfo unpublished)
    {
        string uri = unpublished.Uri.ToString();
        try
        {
            state.RemoveListener(unpublished.Disk, uri);
            lock (_lock)
            {
                _exports.Remove(unpublished.ExportId);
            }
        }
        catch (BlockException e)
        {
            lock (_lock)
            {
                _exports[unpublished.ExportId] = unpublished;
            }

            throw Unstored(e, DescribeExport(uri, unpublished.Disk), ExportAdvice);
        }
    }

    private string ExportAdvice =>
        $"Make '{state.Path}' writable; the next mount, dismount, publishing or unpublishing of any disk then takes it out.";

    private string AdviceFor(string disk) =>
        $"Make '{state.Path}' writable, then run Dismount-FleeceDisk {PowerShellText.Argument(disk)} again.";

    private static BlockException Unstored(BlockException cause, string consequence, string advice) =>
        new(cause.Kind, $"{consequence} {cause.Message} {advice}", cause.Path, operation: cause.Operation, cause: cause);

    private string Describe(MountedDiskState stored) => $"{DescribeDisk(stored.Name, stored.Mount.Address)} {AdviceFor(stored.Name)}";

    private string Describe(string uri, string disk) => $"{DescribeExport(uri, disk)} {ExportAdvice}";

    private static string DescribeDisk(string name, string address) =>
        $"The disk '{name}' is dismounted, but the list of disks on storage still has it, and the next start of the host would serve " +
        $"'{address}' again.";

    private static string DescribeExport(string uri, string disk) =>
        $"The export '{uri}' is taken away, but the list of disks on storage still has it, and the next start of the host would publish " +
        $"the disk '{disk}' there again.";

    private MountedDiskState? FindKept(string name) => state.Disks.FirstOrDefault(disk => Is(disk, name));

    private static bool Is(MountedDiskState disk, string name) => string.Equals(disk.Name, name, StringComparison.OrdinalIgnoreCase);
}
