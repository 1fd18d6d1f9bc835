// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using Fleece.Block.Logs;

namespace Fleece.Block.Tests.Logs;

/// <summary>A process with a log, which is killed.</summary>
internal static class LogChild
{
    public const string CountVerb = "log-count";
    public const string GrowVerb = "log-grow";
    public const string StepVerb = "fail-point";

    public const ushort Kind = 1;
    public const int SegmentBytes = 64 * 1024;
    public const int CountOffsetBytes = 8;
    public const int StartBytes = 64;

    /// <summary>The id of every log in these tests.</summary>
    public static readonly Guid Id = new("5d1c3a52-7a0d-4f5e-9d60-0c5b4c1e8f11");

    /// <summary>Starts this program as another process, with a step at which it is to be killed, or with none.</summary>
    public static Process Start(string? killAt, params string[] arguments)
    {
        ProcessStartInfo start = new("dotnet", [typeof(LogChild).Assembly.Location, .. arguments]) { RedirectStandardOutput = true };
        start.Environment["FLEECE_TEST_KILL_AT"] = killAt;
        return Process.Start(start)!;
    }

    public static RecordLog LogOf(MappedFile file) => new(file, Id, CountOffsetBytes, StartBytes);

    /// <summary>Notes one number after the other, of a length of its own each, and says each when it is noted.</summary>
    public static int Count(string path, bool mayMap)
    {
        using MappedFile file = MappedFile.Create(path, SegmentBytes, mayMap);
        RecordLog log = LogOf(file);
        log.Clear();
        for (uint number = 0; ; number++)
        {
            while (!log.TryAppend(Kind, Payload(number), file.LengthBytes))
            {
                file.Grow();
            }

            Console.WriteLine(number.ToString(CultureInfo.InvariantCulture));
        }
    }

    /// <summary>Grows a file until its file system is full, stores to every page of it, and says how many segments it has and why it has
    /// no more.</summary>
    public static int Grow(string path)
    {
        using MappedFile file = MappedFile.Create(path, SegmentBytes);
        try
        {
            while (true)
            {
                file.Grow();
            }
        }
        catch (BlockException e)
        {
            for (long atBytes = 0; atBytes < file.LengthBytes; atBytes += 4096)
            {
                file.StoreNumber(atBytes, (ulong)atBytes);
            }

            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{file.LengthBytes / SegmentBytes} {e.Kind} {file.IsMapped}"));
            return 0;
        }
    }

    /// <summary>Reaches a step three times, and says so.</summary>
    public static int Step()
    {
        for (int i = 0; i < 3; i++)
        {
            FailPoint.Reach("other-step");
            FailPoint.Reach("step");
            Console.WriteLine(i.ToString(CultureInfo.InvariantCulture));
        }

        return 0;
    }

    /// <summary>The numbers that <see cref="Count"/> notes.</summary>
    public static byte[] Payload(uint number)
    {
        byte[] payload = new byte[sizeof(uint) + number % 61];
        payload.AsSpan().Fill((byte)number);
        BinaryPrimitives.WriteUInt32LittleEndian(payload, number);
        return payload;
    }
}
