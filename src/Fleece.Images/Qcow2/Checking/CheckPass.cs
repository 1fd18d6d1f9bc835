// SPDX-License-Identifier: MIT
using Fleece.Images.Container;

namespace Fleece.Images.Qcow2.Checking;

/// <summary>One walk over all metadata of an image, which trusts nothing that it reads.</summary>
/// <remarks>Threading. One thread.</remarks>
internal sealed class CheckPass
{
    private CheckPass(MappingWalk mapping) => Mapping = mapping;

    public CheckLog Log { get; } = new();

    public MappingWalk Mapping { get; }

    /// <summary>The uses of every cluster; in a walk that fixes without the refcount table and blocks.</summary>
    public ReferenceCounts Uses { get; } = new();

    /// <summary>The refcounts as they were found; null in a walk that fixes.</summary>
    public RefcountStructures? Refcounts { get; private set; }

    /// <summary>L2 tables whose cluster is something else too.</summary>
    public List<long> SharedTables { get; } = [];

    /// <summary>False when stored bitmaps have to be given up.</summary>
    public bool AreBitmapsSound { get; private set; } = true;

    /// <summary>Looks, and changes nothing.</summary>
    public static CheckPass Examine(IContainerFile file, CheckedHeader header, CancellationToken cancellationToken)
    {
        EntryJudge judge = new(header);
        CheckPass pass = new(new MappingWalk(file, header, judge));
        pass.Refcounts = new RefcountStructures(file, header, pass.Log);
        List<NamedRegion> regions = pass.Walk(file, header, judge, isFixing: false, cancellationToken);
        pass.FindShared(header, regions);
        pass.Refcounts.CountInto(pass.Uses);
        pass.Refcounts.FindShared(pass.Uses, pass.Log);
        pass.Refcounts.Compare(pass.Uses, pass.Log, cancellationToken);
        return pass;
    }

    /// <summary>Mends entries, and counts what is left.</summary>
    public static CheckPass Fix(IContainerFile file, CheckedHeader header, EntryJudge judge)
    {
        CheckPass pass = new(new MappingWalk(file, header, judge));
        pass.Walk(file, header, judge, isFixing: true, CancellationToken.None);
        return pass;
    }

    private List<NamedRegion> Walk(
        IContainerFile file, CheckedHeader header, EntryJudge judge, bool isFixing, CancellationToken cancellationToken)
    {
        Uses.Add(0, 1);
        ForEachCluster(header, header.L1, cluster => Uses.Add(cluster, 1));
        List<NamedRegion> snapshots = SnapshotTables.Read(file, header, Log, out NamedRegion? snapshotTable);
        List<NamedRegion> regions = [];
        if (snapshotTable is { } table)
        {
            regions.Add(table);
        }

        if (header.Encryption is { } place && header.IsWithinFile(place.OffsetBytes, place.LengthBytes))
        {
            regions.Add(new NamedRegion("the encryption header", (long)place.OffsetBytes, (long)place.LengthBytes));
        }

        // The header says where those are. Where a snapshot's L1 table is, the snapshot table says, and that may be damaged.
        regions.ForEach(region => ForEachCluster(header, region, cluster => judge.Own.Add(cluster)));
        foreach (NamedRegion l1 in snapshots.Where(l1 => !Mapping.LooksLikeNoTable(l1)))
        {
            ForEachCluster(header, l1, cluster => judge.Own.Add(cluster));
        }

        regions.AddRange(snapshots);
        regions.ForEach(region => ForEachCluster(header, region, cluster => Uses.Add(cluster, 1)));
        ReferenceCounts bitmaps = new();
        AreBitmapsSound = BitmapTables.CountInto(bitmaps, file, header, Log, isFixing);
        foreach ((long cluster, uint uses) in bitmaps.Used())
        {
            Uses.Add(cluster, uses);
        }

        Mapping.WalkL1(header.L1, isActive: true, Refcounts, Log, isFixing);
        foreach (NamedRegion l1 in snapshots)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Mapping.WalkL1(l1, isActive: false, null, Log, isFixing);
        }

        Mapping.WalkL2(Uses, Refcounts, Log, isFixing, cancellationToken);
        FindSharedBitmaps(header, bitmaps);
        return regions;
    }

    private void FindShared(CheckedHeader header, List<NamedRegion> regions)
    {
        foreach ((long cluster, uint uses) in Mapping.Tables.Used())
        {
            if (Uses[cluster] != uses)
            {
                SharedTables.Add(cluster);
                Report(header, "an L2 table", cluster);
            }
        }

        foreach (NamedRegion region in regions)
        {
            ForEachCluster(header, region, cluster =>
            {
                if (Uses[cluster] != 1)
                {
                    Report(header, region.Name, cluster);
                }
            });
        }
    }

    private void FindSharedBitmaps(CheckedHeader header, ReferenceCounts bitmaps)
    {
        foreach ((long cluster, _) in bitmaps.Used())
        {
            if (Uses[cluster] != 1)
            {
                AreBitmapsSound = false;
                Report(header, "a stored bitmap", cluster);
            }
        }
    }

    private void Report(CheckedHeader header, string what, long cluster) => Log.Add(
        FindingCause.Mapping,
        $"The cluster at file offset {cluster << header.ClusterBits} holds {what} and something else",
        cluster << header.ClusterBits);

    private static void ForEachCluster(CheckedHeader header, NamedRegion region, Action<long> visit)
    {
        long end = (region.OffsetBytes + region.LengthBytes + header.ClusterBytes - 1) >> header.ClusterBits;
        for (long cluster = region.OffsetBytes >> header.ClusterBits; cluster < end; cluster++)
        {
            visit(cluster);
        }
    }
}
