// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using Fleece.Block;
using Fleece.Images.Container;
using Fleece.Images.Maps;

namespace Fleece.Images.Tests.Example;

/// <summary>The map of the example format, and its changes: blocks are allocated at the end of the file and stay.</summary>
/// <remarks>
/// <para>The whole table is in memory. A new block is a part of the file that has just been grown, so it reads as zeros, and its entry may be
/// set before the guest's bytes are written.</para>
/// <para>Stages of a write-back:</para>
/// <code>
/// 0  nothing                     flush: the guest's data, and the length of the file
/// 1  entries of new blocks       flush
/// </code>
/// <para>So no entry on the disk leads to a block before the block is there: a crash leaves unused blocks at the end, which the next change
/// cuts off.</para>
/// </remarks>
internal sealed class ExampleMap : IImageMap, IImageChanges, IStagedChanges
{
    private const int MaxNewBlocks = 1024;

    private readonly uint[] _table;
    private readonly List<int> _newBlocks = [];
    private readonly long _dataStartBytes;
    private uint _lastBlock;
    private int _newBlockCount;

    /// <summary>Reads the table.</summary>
    /// <param name="file">The image.</param>
    /// <param name="sizeBytes">Size of its disk, validated.</param>
    /// <param name="onFault">Hears of each entry that can't be right; unless it throws, the entry counts as empty.</param>
    public ExampleMap(IContainerFile file, long sizeBytes, Action<string> onFault)
    {
        DataFile = file;
        SizeBytes = sizeBytes;
        Poison = new Poison(cause => new BlockException(cause.Kind, $"'{file.Path}' takes no more changes.", file.Path, cause: cause));
        _table = new uint[ExampleDriver.CountBlocks(sizeBytes)];
        _dataStartBytes = FindDataStart(_table.Length);
        ReadTable(onFault);
        if (!file.IsReadOnly)
        {
            WriteBack = new StagedWriteBack(file, dataFile: null, this, stageCount: 2);
        }
    }

    public ImageFormat Format => ExampleDriver.ExampleFormat;

    public long SizeBytes { get; }

    public IContainerFile DataFile { get; }

    public bool HasHoles => true;

    public int RunsPerStatusQuery => 1024;

    public Epochs Epochs { get; } = new();

    public IPackedData? Packed => null;

    public IImageChanges? Changes => WriteBack is null ? null : this;

    public StagedWriteBack? WriteBack { get; }

    public Poison Poison { get; }

    public Lock Sync { get; } = new();

    public bool HasChanged { get; private set; }

    public bool IsWriteBackDue => Volatile.Read(ref _newBlockCount) >= MaxNewBlocks;

    public IUnitDrops? Drops => null;

    public long PunchBytes => 4096;

    public bool SaysPartialZeroes => false;

    /// <summary>The end of the last block.</summary>
    public long EndBytes => PlaceOf(_lastBlock + 1);

    public static long FindDataStart(int blocks) =>
        BlockRange.RoundUp(ExampleDriver.TableOffsetBytes + ((long)blocks * sizeof(uint)), ExampleDriver.BlockBytes);

    public MappedRun Map(long offsetBytes, long lengthBytes, bool isContiguous)
    {
        uint entry = Volatile.Read(ref _table[offsetBytes / ExampleDriver.BlockBytes]);
        long inBlockBytes = offsetBytes % ExampleDriver.BlockBytes;
        long runBytes = Math.Min(lengthBytes, ExampleDriver.BlockBytes - inBlockBytes);
        return entry == 0
            ? new MappedRun(RunKind.Unallocated, runBytes)
            : new MappedRun(RunKind.Data, runBytes, PlaceOf(entry) + inBlockBytes, IsWritable: true);
    }

    public void Prepare()
    {
        lock (Sync)
        {
            if (!HasChanged)
            {
                // Blocks of a crash lie there, and a new block must read as zeros.
                DataFile.SetLength(EndBytes);
                HasChanged = true;
            }
        }
    }

    public bool TryStore(long offsetBytes, ReadOnlySpan<byte> data, out long doneBytes)
    {
        int block = (int)(offsetBytes / ExampleDriver.BlockBytes);
        doneBytes = 0;
        lock (Sync)
        {
            Poison.ThrowIfSet();
            if (_table[block] == 0)
            {
                DataFile.SetLength(PlaceOf(_lastBlock + 2));
                Volatile.Write(ref _table[block], ++_lastBlock);
                _newBlocks.Add(block);
                Volatile.Write(ref _newBlockCount, _newBlocks.Count);
            }
        }

        return true;
    }

    public bool TryZero(long offsetBytes, in MappedRun run, out long doneBytes) =>
        throw new NotSupportedException("Data is zeroed in place, and all else reads as zeros.");

    public void Capture(StagedWrites writes)
    {
        foreach (int block in _newBlocks)
        {
            Span<byte> entry = writes.Add(1, ExampleDriver.TableOffsetBytes + ((long)block * sizeof(uint)), sizeof(uint));
            BinaryPrimitives.WriteUInt32LittleEndian(entry, _table[block]);
        }

        _newBlocks.Clear();
        Volatile.Write(ref _newBlockCount, 0);
        writes.Flush(0);
        if (!writes.IsEmpty(1))
        {
            writes.Flush(1);
        }
    }

    public void EndWriteBack()
    {
    }

    public void Reclaim()
    {
    }

    public void Finish()
    {
    }

    public void Dispose()
    {
    }

    private long PlaceOf(uint entry) => _dataStartBytes + ((entry - 1L) * ExampleDriver.BlockBytes);

    private void ReadTable(Action<string> onFault)
    {
        byte[] bytes = new byte[_table.Length * sizeof(uint)];
        DataFile.Read(ExampleDriver.TableOffsetBytes, bytes);
        HashSet<uint> used = [];
        for (int block = 0; block < _table.Length; block++)
        {
            uint entry = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(block * sizeof(uint)));
            if (entry != 0 && (PlaceOf(entry) + ExampleDriver.BlockBytes > DataFile.GetLength() || !used.Add(entry)))
            {
                onFault($"entry {block} is {entry}, which is not in the file or of another block");
                entry = 0;
            }

            _table[block] = entry;
            _lastBlock = Math.Max(_lastBlock, entry);
        }
    }
}
