// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Container;

namespace Fleece.Images.Tests.Crashes;

/// <summary>A file in memory with a planted fault.</summary>
/// <remarks>A flush is told to the crash tests at once and done with the change that follows, because its fate may depend on
/// that.</remarks>
internal sealed class PlantedContainer : IContainerFile
{
    private readonly MemoryContainer _file;
    private readonly PlantedFault _fault;
    private readonly ImageFormat _format;
    private readonly Action? _beforeFlush;
    private readonly HashSet<FileRegion> _sinceFlush = [];
    private readonly HashSet<FileRegion> _beforePending = [];
    private readonly Dictionary<long, byte[]> _written = [];
    private readonly List<(long OffsetBytes, byte[] Data)> _repeats = [];
    private bool _isPending;

    private PlantedContainer(PlantedFault fault, MemoryContainer file, ImageFormat format)
    {
        _fault = fault;
        _file = file;
        _format = format;
        _beforeFlush = file.BeforeFlush;
        file.BeforeFlush = null;
    }

    public string Path => _file.Path;

    public bool IsReadOnly => _file.IsReadOnly;

    /// <summary>The file, with the fault if there is one.</summary>
    public static IContainerFile Plant(PlantedFault? fault, MemoryContainer file, ImageFormat format) =>
        fault is null ? file : new PlantedContainer(fault, file, format);

    public long GetLength() => _file.GetLength();

    public long MaximumLengthBytes => _file.MaximumLengthBytes;

    public void Read(long offsetBytes, Span<byte> buffer) => _file.Read(offsetBytes, buffer);

    public void ReadAhead(long offsetBytes, long lengthBytes) => _file.ReadAhead(offsetBytes, lengthBytes);

    public BlockStatusRun FindExtent(BlockRange range) => _file.FindExtent(range);

    public void Write(long offsetBytes, ReadOnlySpan<byte> data)
    {
        FileRegion region = FileRegions.Find(_format, _file.Content, offsetBytes, data);
        if (!Begin(region))
        {
            return;
        }

        if (region == _fault.Repeats)
        {
            if (_written.TryGetValue(offsetBytes, out byte[]? older))
            {
                _repeats.Add((offsetBytes, older));
            }

            _written[offsetBytes] = data.ToArray();
        }

        _file.Write(offsetBytes, data);
    }

    public void Zero(long offsetBytes, long lengthBytes)
    {
        if (Begin(FileRegion.Zeros))
        {
            _file.Zero(offsetBytes, lengthBytes);
        }
    }

    public void SetLength(long lengthBytes)
    {
        if (Begin(FileRegion.Length))
        {
            _file.SetLength(lengthBytes);
        }
    }

    public void Flush()
    {
        Settle(null);
        _beforeFlush?.Invoke();
        _isPending = true;
        _beforePending.Clear();
        _beforePending.UnionWith(_sinceFlush);
        _sinceFlush.Clear();
    }

    /// <summary>Decides about the last flush, if that has not been done yet.</summary>
    /// <param name="next">The region that is changed next; null when that is not known.</param>
    public void Settle(FileRegion? next)
    {
        if (!_isPending)
        {
            return;
        }

        _isPending = false;
        if (_fault.SwallowsFlush?.Invoke(_beforePending, next) == true)
        {
            return;
        }

        _file.Flush();
        foreach ((long offsetBytes, byte[] data) in _repeats)
        {
            _file.Write(offsetBytes, data);
        }

        _repeats.Clear();
    }

    public void Dispose() => _file.Dispose();

    private bool Begin(FileRegion region)
    {
        Settle(region);
        _sinceFlush.Add(region);
        return region != _fault.Drops;
    }
}
